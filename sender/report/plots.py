"""Draws charts with matplotlib as SVG that takes its colours and letters from the page (the extra `report`).

Each is drawn twice, for wide and for narrow screens, so that letters stay readable on a phone.
"""

from __future__ import annotations

import math
import re
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ImportError:
    raise UsageError(
        "sender report draws with the package matplotlib: pip install 'sender[report]', or ask for --text"
    ) from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sender.report.section import Chart, Curve

WIDE: Final = (9.4, 3.0)
NARROW: Final = (4.2, 3.1)
INK: Final = {
    "first": "#0a0b01", "second": "#0a0b02", "third": "#0a0b03", "good": "#0a0b04", "bad": "#0a0b05",
    "quiet": "#0a0b06", "grid": "#0a0b07",
}  # fmt: skip
"""Stand-ins for the page's colours; no chart uses them for anything else."""
_RC: Final[dict[Any, Any]] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "path.simplify_threshold": 0.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
}  # fmt: skip
_PROLOG: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SIZE: Final = re.compile(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"')
_FONT: Final = re.compile(r"font: (?:\d+ )?([\d.]+px)[^;\"]*")
_XMLNS: Final = re.compile(r' xmlns(?::\w+)?="[^"]*"')


def draw(chart: Chart) -> tuple[str, str]:
    """The chart as (wide, narrow) SVG; it holds no text of any file."""
    return _svg(chart, WIDE, "w"), _svg(chart, NARROW, "n")


def _svg(chart: Chart, size: tuple[float, float], mark: str) -> str:
    with mpl.rc_context({**_RC, "svg.hashsalt": f"{chart.name}-{mark}"}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        _dress(axes)
        for curve in chart.curves:
            _draw_curve(axes, chart, curve)
        (_time_axis if chart.axis == "time" else _percentile_axis)(axes, chart)
        _value_axis(axes, chart)
        target = StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(target, format="svg", transparent=True, metadata=metadata)
    return _for_page(target.getvalue(), f"{chart.name}-{mark}")


def _dress(axes: Axes) -> None:
    axes.grid(visible=True, axis="y", color=INK["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK["quiet"], length=0, pad=5)
    axes.spines["bottom"].set_color(INK["grid"])


def _draw_curve(axes: Axes, chart: Chart, curve: Curve) -> None:
    colour = INK[curve.tone]
    x = [_place(chart, at) for at in chart.x]
    y = [math.nan if value is None else value for value in curve.values]
    if curve.form == "bars":
        shown = [(at, value) for at, value in zip(x, y, strict=True) if value]
        width = max((x[-1] - x[0]) / max(60, len(x)), 0.4) if len(x) > 1 else 0.4
        axes.bar([at for at, _ in shown], [value for _, value in shown], width=width, color=colour, align="edge")
    elif curve.form == "step":
        x, y = [*x, x[-1] + chart.width], [*y, y[-1]]  # the last step is as wide as the others
        axes.plot(x, y, color=colour, linewidth=1.7, drawstyle="steps-post")
        axes.fill_between(x, y, step="post", color=colour, alpha=0.12, linewidth=0)
    else:
        axes.plot(
            x, y, color=colour, linewidth=1.9, marker="o" if chart.axis == "percentile" else _mark(x), markersize=4
        )


def _mark(x: list[float]) -> str | None:
    """A single point has no line to be seen by."""
    return "o" if len(x) == 1 else None


def _place(chart: Chart, at: float) -> float:
    """Percentiles are spread by how many nines they have."""
    return at if chart.axis == "time" else -math.log10(1 - min(at, 99.9999) / 100)


def _value_axis(axes: Axes, chart: Chart) -> None:
    values = [value for curve in chart.curves for value in curve.values if value is not None]
    most, least = max(values, default=1.0), min((value for value in values if value > 0), default=1.0)
    if chart.unit == "ms" and most > 30 * least:
        axes.set_yscale("log")
        axes.minorticks_off()
    else:
        axes.set_ylim(0, max(most, chart.limit or 0) * 1.15 or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(_number))
    if chart.limit:
        axes.axhline(chart.limit, color=INK["bad"], linewidth=1.2, linestyle=(0, (5, 3)), zorder=5)


def _number(value: float, _: Any) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def _time_axis(axes: Axes, chart: Chart) -> None:
    last = chart.x[-1] if chart.x else 1.0
    step, letter = (3600, "h") if last > 2 * 3600 else (60, "min") if last > 180 else (1, "s")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / step:g} {letter}"))
    if step > 1:
        every = next((n for n in (1, 2, 3, 5, 10, 15, 20, 30, 60) if last / step / n <= 6), math.ceil(last / step / 6))
        axes.set_xticks([n * step for n in range(0, int(last / step) + 1, every)])
    axes.margins(x=0.01)


def _percentile_axis(axes: Axes, chart: Chart) -> None:
    nines = (50, 90, 99, 99.9, 99.99, 99.999)
    shown = [one for one in nines if min(chart.x) <= one <= max(chart.x)]
    axes.set_xticks([_place(chart, one) for one in shown], [f"{one:g} %" for one in shown])
    axes.margins(x=0.03)


def _for_page(svg: str, mark: str) -> str:
    """Without prolog and fixed size, in the page's colours and letters, with ids that are unlike all others."""
    svg = _METADATA.sub("", _PROLOG.sub("", svg))
    svg = _SIZE.sub(lambda match: match.group(1) or match.group(2), svg, count=1)
    svg = _XMLNS.sub("", svg)
    for name, colour in INK.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = _FONT.sub(r"font-size: \1", svg)
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    for one in ids:
        svg = svg.replace(f'href="#{one}"', f'href="#{mark}-{one}"').replace(f"url(#{one})", f"url(#{mark}-{one})")
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1).strip()
