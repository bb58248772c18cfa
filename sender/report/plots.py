"""Draws charts with matplotlib (the extra `report`): as SVG in the colours and letters of the page, or as PNG.

For the page each is drawn twice, for wide and for narrow screens, so that letters stay readable on a phone.
"""

from __future__ import annotations

import math
import re
import warnings
from io import BytesIO, StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError
from sender.report.time_axis import TimeAxis

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ImportError:
    raise UsageError(
        "sender report draws with the package matplotlib: pip install 'sender[report]', or ask for --text"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from sender.report.section import Chart, Curve

WIDE: Final = (9.4, 3.0)
NARROW: Final = (4.2, 3.1)
INK: Final = {
    "first": "#0a0b01", "second": "#0a0b02", "third": "#0a0b03", "good": "#0a0b04", "bad": "#0a0b05",
    "quiet": "#0a0b06", "grid": "#0a0b07",
}
"""Stand-ins for the page's colours; no chart uses them for anything else."""
PAPER: Final = {
    "first": "#2563c9", "second": "#b4610a", "third": "#7b4fc4", "good": "#157f4c", "bad": "#c22f3d",
    "quiet": "#5b6877", "grid": "#e1e6ec",
}
NINES: Final = (50, 90, 99, 99.9, 99.99, 99.999)
PNG_HEIGHT: Final = 3.2
PNG_DPI: Final = 150
_RC: Final[dict[Any, Any]] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "path.simplify_threshold": 0.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
}
_PROLOG: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SIZE: Final = re.compile(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"')
_FONT: Final = re.compile(r"font: (?:\d+ )?([\d.]+px)[^;\"]*")
_XMLNS: Final = re.compile(r' xmlns(?::\w+)?="[^"]*"')


def draw(chart: Chart) -> tuple[str, str]:
    """The chart as (wide, narrow) SVG; it holds no text of any file."""
    return _svg(chart, WIDE, "w"), _svg(chart, NARROW, "n")


def draw_png(charts: Sequence[tuple[str, Chart]]) -> bytes:
    """Titled charts below each other as one PNG."""
    with mpl.rc_context(_RC), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a title in letters that the font lacks
        figure = Figure(figsize=(WIDE[0], PNG_HEIGHT * len(charts)), layout="constrained", facecolor="white")
        for axes, (title, chart) in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
            _plot(axes, chart, PAPER)
            axes.set_title(f"{title}, {chart.unit}", loc="left", fontsize=11, parse_math=False)
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=4, frameon=False, fontsize=9)
        target = BytesIO()
        figure.savefig(target, format="png", dpi=PNG_DPI)
    return target.getvalue()


def _svg(chart: Chart, size: tuple[float, float], mark: str) -> str:
    with mpl.rc_context({**_RC, "svg.hashsalt": f"{chart.name}-{mark}"}):
        figure = Figure(figsize=size, layout="constrained")
        _plot(figure.add_subplot(), chart, INK)
        target = StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(target, format="svg", transparent=True, metadata=metadata)
    return _for_page(target.getvalue(), f"{chart.name}-{mark}")


def _plot(axes: Axes, chart: Chart, ink: Mapping[str, str]) -> None:
    axes.grid(visible=True, axis="y", color=ink["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink["quiet"], length=0, pad=5)
    axes.spines["bottom"].set_color(ink["grid"])
    place = _percentile_axis(axes, chart) if chart.axis == "percentile" else _time_axis(axes, chart)
    for begin, end in chart.pauses:
        axes.axvspan(place(begin), place(end), color=ink["grid"], alpha=0.6, linewidth=0)
    for curve in chart.curves:
        _draw_curve(axes, chart, curve, place, ink[curve.tone])
    _value_axis(axes, chart, ink)


def _draw_curve(axes: Axes, chart: Chart, curve: Curve, place: Callable[[float], float], colour: str) -> None:
    x = [place(at) for at in chart.x]
    y = [math.nan if value is None else value for value in curve.values]
    if curve.form == "bars":
        shown = [(at, value) for at, value in zip(x, y, strict=True) if value > 0]
        width = max((x[-1] - x[0]) / max(60, len(x)), 0.4)
        axes.bar([at for at, _ in shown], [value for _, value in shown], width=width, color=colour, align="edge",
                 label=curve.name)
    elif curve.form == "step":
        for begin, end in _stretches(y):
            # The last step is as wide as the others.
            xs, ys = [*x[begin:end], place(chart.x[end - 1] + chart.width)], [*y[begin:end], y[end - 1]]
            axes.plot(xs, ys, color=colour, linewidth=1.7, drawstyle="steps-post", label="" if begin else curve.name)
            axes.fill_between(xs, ys, step="post", color=colour, alpha=0.12, linewidth=0)
    else:
        axes.plot(x, y, color=colour, linewidth=1.9, label=curve.name)
        alone = [begin for begin, end in _stretches(y) if end - begin == 1]  # there is no line to see them by
        dots = range(len(y)) if chart.axis == "percentile" else alone
        axes.plot([x[one] for one in dots], [y[one] for one in dots], "o", color=colour, markersize=4)


def _stretches(y: Sequence[float]) -> list[tuple[int, int]]:
    """(first, one after the last) of the points between two gaps."""
    edges = [-1, *(place for place, value in enumerate(y) if math.isnan(value)), len(y)]
    return [(one + 1, other) for one, other in pairwise(edges) if other - one > 1]


def _value_axis(axes: Axes, chart: Chart, ink: Mapping[str, str]) -> None:
    values = [value for curve in chart.curves for value in curve.values if value is not None]
    most, least = max(values, default=1.0), min((value for value in values if value > 0), default=1.0)
    if chart.unit in ("ms", "s") and most > 30 * least:
        axes.set_yscale("log")
        axes.minorticks_off()
    else:
        axes.set_ylim(0, max(most, chart.limit or 0) * 1.15 or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(_number))
    if chart.limit:
        style: Any = (0, (5, 3))
        axes.axhline(chart.limit, color=ink["bad"], linewidth=1.2, linestyle=style, zorder=5,
                     label=f"limit {chart.limit:g}/s")


def _number(value: float, _: Any) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def _time_axis(axes: Axes, chart: Chart) -> Callable[[float], float]:
    axis = TimeAxis(chart.x[-1] + chart.width, chart.pauses)
    places, texts = zip(*axis.ticks(), strict=True)
    axes.set_xticks(places, texts)
    axes.margins(x=0.01)
    return axis.place


def _percentile_axis(axes: Axes, chart: Chart) -> Callable[[float], float]:
    """Percentiles are spread by how many nines they have."""

    def place(percent: float) -> float:
        return -math.log10(1 - min(percent, 99.9999) / 100)

    shown = [one for one in NINES if min(chart.x) <= one <= max(chart.x)]
    axes.set_xticks([place(one) for one in shown], [f"{one:g} %" for one in shown])
    axes.margins(x=0.03)
    return place


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
