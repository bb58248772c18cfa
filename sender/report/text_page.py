"""A report for the terminal: the same figures, with curves of block letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.report.section import Bar, Chart, Curve, Section, Table

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
COLUMNS: Final = 60
MOST_ROWS: Final = 12
MOST_LISTED: Final = 40


def text(sections: Sequence[Section]) -> str:
    """The whole report."""
    return "\n".join(line for section in sections for line in _section(section)) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield section.title
    yield f"  {section.subtitle}"
    yield from (f"  ! {note}" for note in section.notes)
    yield ""
    width = max((len(fact.name) for fact in section.facts), default=0)
    yield from (f"  {fact.name:<{width}}  {fact.value}" for fact in section.facts)
    yield ""
    yield from _bars(section.bars)
    if section.flow is not None:
        yield from _table(section.flow.table)
    for chart in section.charts:
        yield from _chart(chart)
    for table in section.tables:
        yield from _table(table)


def _bars(bars: Sequence[Bar]) -> Iterator[str]:
    total = sum(bar.count for bar in bars)
    for bar in bars:
        yield f"  {bar.count:>12,}  {bar.name:<10} {'█' * max(1, round(30 * bar.count / total))}"
    if bars:
        yield ""


def _chart(chart: Chart) -> Iterator[str]:
    yield f"  {chart.title}, {chart.unit}"
    if chart.axis == "percentile":
        yield from _rows(chart.table)
    else:
        width = max(len(curve.name) for curve in chart.curves)
        for curve in chart.curves:
            most = max((value for value in curve.values if value is not None), default=0.0)
            yield f"  {curve.name:<{width}}  {_sparks(curve)}  at most {most:,.1f}"
    yield ""


def _sparks(curve: Curve) -> str:
    """The largest value of each part of the curve."""
    size = max(1, -(-len(curve.values) // COLUMNS))
    parts = [curve.values[start : start + size] for start in range(0, len(curve.values), size)]
    heights = [max((value for value in part if value is not None), default=0.0) for part in parts]
    most = max(heights, default=0.0) or 1.0
    return "".join(BLOCKS[-(-int(height * 80 / most) // 10)] for height in heights)


def _table(table: Table) -> Iterator[str]:
    yield f"  {table.caption}"
    yield from _rows(table, most=MOST_LISTED)
    if len(table.rows) > MOST_LISTED:
        yield f"    … and {len(table.rows) - MOST_LISTED:,} more"
    if table.note:
        yield f"    {table.note}"
    yield ""


def _rows(table: Table, most: int = MOST_ROWS) -> Iterator[str]:
    rows = [table.head, *table.rows[:most]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.head))]
    for row in rows:
        cells = (cell.ljust(width) if place in table.words else cell.rjust(width)
                 for place, (cell, width) in enumerate(zip(row, widths, strict=True)))
        yield f"    {'  '.join(cells)}".rstrip()
