"""A report as one HTML file that asks nothing of any network; its templates escape every text (extra `report`)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError
from sender.report.flow import draw_flow
from sender.report.plots import draw
from sender.report.words import clean
from sender.runtime.version import __version__

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ImportError:
    raise UsageError(
        "sender report makes its page with the package jinja2: pip install 'sender[report]', or ask for --text"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sender.report.section import Section, Table

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MOST_GROUPS: Final = 12
OTHERS: Final = "others"


def page(sections: Sequence[Section], title: str) -> str:
    """The whole document."""
    templates = Environment(
        loader=PackageLoader("sender.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )
    templates.globals.update(draw=draw, draw_flow=draw_flow, groups_of=_groups_of, marked=_marked)
    document = templates.get_template("page.html.jinja")
    return document.render(sections=sections, title=clean(title), policy=POLICY, version=__version__)


def _groups_of(table: Table) -> list[tuple[str, int]]:
    """(word to filter by, its rows), the most frequent first; the rare ones together as the last."""
    groups = Counter(table.groups).most_common()
    if len(groups) > MOST_GROUPS:
        rare = sum(count for _, count in groups[MOST_GROUPS - 1 :])
        groups = [*groups[: MOST_GROUPS - 1], (OTHERS, rare)]
    return groups


def _marked(table: Table, groups: Sequence[tuple[str, int]]) -> Iterable[tuple[tuple[str, ...], int]]:
    """(row, number of its group from 1 on, or 0 where there is no filter)."""
    if len(groups) < 2:
        return ((row, 0) for row in table.rows)
    numbers = {group: number for number, (group, _) in enumerate(groups, 1)}
    return ((row, numbers.get(group, len(groups))) for row, group in zip(table.rows, table.groups, strict=True))
