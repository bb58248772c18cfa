"""Draws a flow as SVG: bands from what was read to what became of it here, and there. Pure.

As with charts it is drawn twice, for wide and for narrow screens. It holds no text of any file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sender.report.section import Bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.report.section import Flow

WIDE: Final = (900.0, 15.0)
"""Width, and height of letters."""
NARROW: Final = (360.0, 13.0)
BAND: Final = 150.0
"""Height of all jobs together."""
LEAST: Final = 2.0
NODE: Final = 10.0


class _Node(NamedTuple):
    bar: Bar
    y: float
    height: float


def draw_flow(flow: Flow) -> tuple[str, str]:
    """(wide, narrow) SVG."""
    return _drawn(flow, *WIDE), _drawn(flow, *NARROW)


def _drawn(flow: Flow, width: float, letters: float) -> str:
    columns = [_column(bars, flow.jobs, letters) for bars in ([Bar("read", flow.jobs, "quiet")], flow.here, flow.there)]
    places = (0.0, width * 0.3, width * 0.65)
    height = max(node.y + max(node.height, letters) for column in columns for node in column) + 4
    (read,), here, there = columns
    parts = [*_links(read, here, places[0], places[1])]
    sent = next((node for node in here if node.bar.name == "sent"), None)
    if sent is not None:
        parts += _links(sent, there, places[1], places[2])
    for column, x in zip(columns, places, strict=True):
        parts += (text for node in column for text in _node(node, x, letters))
    return (
        f'<svg viewBox="0 0 {width:g} {height:.1f}" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


def _column(bars: Sequence[Bar], jobs: int, letters: float) -> list[_Node]:
    """Below each other, each with room for its word."""
    nodes, y = [], 2.0
    for bar in bars:
        height = max(LEAST, BAND * bar.count / jobs)
        nodes.append(_Node(bar, y, height))
        y += max(height, letters * 1.3) + 6
    return nodes


def _links(source: _Node, targets: Sequence[_Node], left: float, right: float) -> Iterator[str]:
    total = sum(target.bar.count for target in targets) or 1
    begin, end, y = left + NODE, right, source.y
    middle = (begin + end) / 2
    for target in targets:
        high = source.height * target.bar.count / total
        yield (
            f'<path fill="var(--{target.bar.tone})" opacity=".22" d="M{begin:.1f} {y:.1f}C{middle:.1f} {y:.1f} '
            f"{middle:.1f} {target.y:.1f} {end:.1f} {target.y:.1f}V{target.y + target.height:.1f}"
            f'C{middle:.1f} {target.y + target.height:.1f} {middle:.1f} {y + high:.1f} {begin:.1f} {y + high:.1f}Z"/>'
        )
        y += high


def _node(node: _Node, x: float, letters: float) -> Iterator[str]:
    yield (
        f'<rect x="{x:.1f}" y="{node.y:.1f}" width="{NODE:g}" height="{node.height:.1f}" rx="2" '
        f'fill="var(--{node.bar.tone})"/>'
    )
    word = f"{node.bar.count:,} {node.bar.name.replace('_', ' ')}"
    middle = node.y + min(node.height, letters * 1.2) / 2
    y = max(middle, node.y + letters * 0.45)
    yield f'<text x="{x + NODE + 6:.1f}" y="{y:.1f}" font-size="{letters:g}" dominant-baseline="middle">{word}</text>'
