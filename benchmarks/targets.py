"""The targets of targets.toml beside what RESULTS.md has of them: python benchmarks/targets.py [--save]"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import results

FILE: Final = Path(__file__).with_name("targets.toml")
NOTES: Final = """\
Each figure is a cell of a section below, which names its command; a figure is judged as it stands there. The first
version was measured on the same kind of machine, on a day on which it was quicker: the bare aiohttp loop took 62 to 87
us of processor time a request then, and 74 to 150 in the later runs. Ratios can be compared, times and rates cannot."""


@dataclass(frozen=True, slots=True)
class Target:
    """A cell of RESULTS.md, and its bound."""

    subject: str
    what: str
    cell: tuple[str, str, str]
    """Section (and heading), row, column."""
    at_least: str | None
    at_most: str | None
    reason: str
    before: str
    """What the first version had; empty where that was not measured."""

    @property
    def bound(self) -> str:
        """In words."""
        return f"at least {self.at_least}" if self.at_least is not None else f"at most {self.at_most}"

    def met(self, value: float) -> bool:
        """Whether the value is within the bound."""
        if self.at_least is not None:
            return value >= number(self.at_least)
        return value <= number(self.at_most or "0")


def read() -> list[Target]:
    """All of them."""
    rows = tomllib.loads(FILE.read_text())["target"]
    return [
        Target(row["subject"], row["what"], tuple(row["cell"]), _text(row.get("at_least")), _text(row.get("at_most")),
               row.get("reason", ""), str(row.get("before", "")))
        for row in rows
    ]


def _text(bound: float | str | None) -> str | None:
    return None if bound is None else str(bound)


def number(cell: str) -> float:
    """Of a cell like `7,410`, `99.5%` or `0.53`; ValueError when it has none."""
    match = re.match(r"-?[\d,]*\.?\d+", cell.strip())
    if match is None:
        raise ValueError(f"{cell!r} is not a figure")
    return float(match[0].replace(",", ""))


def judged(section: str, row: str, column: str, value: float) -> str:
    """What a table says beside a figure that has a target; empty for one that has none."""
    for target in read():
        if target.cell == (section, row, column):
            return f"{target.bound}: {'met' if target.met(value) else 'missed'}"
    return ""


def table(page: str) -> str:
    """All targets beside the figures of this page."""
    cells, commands = results.cells(page), results.commands(page)
    head = ("subject", "figure", "first version", "target", "measured", "verdict", "command")
    rows = []
    for target in read():
        cell = cells.get(target.cell)
        verdict = "not measured" if cell is None else _verdict(target, cell)
        command = commands.get(target.cell[0].partition(" > ")[0], "–")
        rows.append((target.subject, target.what, target.before or "–", target.bound, cell or "–", verdict, command))
    return results.table(head, rows)


def _verdict(target: Target, cell: str) -> str:
    try:
        met = target.met(number(cell))
    except ValueError:
        return "not measured"
    return "met" if met else f"missed{': ' + target.reason if target.reason else ''}"


def main() -> None:
    results.tell("targets", "Targets", NOTES, table(results.RESULTS.read_text()))


if __name__ == "__main__":
    main()
