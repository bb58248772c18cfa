"""A report as one HTML file that asks nothing of any network; every text in it is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from sender import __version__
from sender.report.plots import draw
from sender.report.style import STYLE
from sender.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sender.report.section import Bar, Chart, Fact, Section, Table

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(sections: Sequence[Section], title: str) -> str:
    """The whole document."""
    title = clean(title)
    body = "".join(piece for section in sections for piece in _section(section))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        f"{body}<footer>sender {escape(__version__)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> Iterator[str]:
    yield f'<section>\n<h2>{escape(section.title)}</h2>\n<p class="sub">{escape(section.subtitle)}</p>\n'
    for note in section.notes:
        yield f'<p class="card warn">{escape(note)}</p>\n'
    yield f'<dl class="facts">{"".join(map(_fact, section.facts))}</dl>\n'
    if section.bars:
        yield _bars(section.bars)
    for chart in section.charts:
        yield _chart(chart)
    for table in section.tables:
        yield f'<div class="card">{_table(table)}</div>\n'
    yield "</section>\n"


def _fact(fact: Fact) -> str:
    return f'<div class="fact"><dt>{escape(fact.name)}</dt><dd class="{fact.tone}">{escape(fact.value)}</dd></div>'


def _bars(bars: Iterable[Bar]) -> str:
    bars = list(bars)
    told = ", ".join(f"{bar.count:,} {bar.name}" for bar in bars)
    parts = "".join(f'<span class="{bar.tone}" style="flex:{bar.count} 0 0"></span>' for bar in bars)
    legend = "".join(
        f'<li style="--dot:var(--{bar.tone})"><b>{bar.count:,}</b> {escape(bar.name)}</li>' for bar in bars
    )
    return (
        '<div class="card"><h3>What became of the jobs</h3>'
        f'<div class="parts" role="img" aria-label="{escape(told)}">{parts}</div>'
        f'<ul class="legend">{legend}</ul></div>\n'
    )


def _chart(chart: Chart) -> str:
    wide, narrow = draw(chart)
    keys = [(curve.tone, curve.name, "") for curve in chart.curves]
    if chart.limit:
        keys.append(("bad", f"limit {chart.limit:g}/s", "limit"))
    legend = "".join(f'<li class="{kind}" style="--dot:var(--{tone})">{escape(name)}</li>' for tone, name, kind in keys)
    note = f'<p class="note">{escape(chart.note)}</p>' if chart.note else ""
    unit = f' <span class="note">{escape(chart.unit)}</span>'
    return (
        f'<div class="card"><h3>{escape(chart.title)}{unit}</h3><figure role="img" aria-label="{escape(chart.told)}">'
        f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div></figure>'
        f'<ul class="legend">{legend}</ul>{note}'
        f"<details><summary>The figures behind it</summary>{_table(chart.table)}</details></div>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_word(table, place)}>{escape(name)}</th>' for place, name in enumerate(table.head))
    rows = "".join(f"<tr>{''.join(_cells(table, row))}</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cells(table: Table, row: Sequence[str]) -> Iterator[str]:
    for place, cell in enumerate(row):
        if place:
            yield f"<td{_word(table, place)}>{escape(cell)}</td>"
        else:
            yield f'<th scope="row">{escape(cell)}</th>'


def _word(table: Table, place: int) -> str:
    return ' class="word"' if place in table.words else ""
