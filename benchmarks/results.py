"""RESULTS.md: one section for each benchmark, each written by its own script, so that they are renewed one by one."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from typing import TYPE_CHECKING, Final

from common import ROOT, machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

RESULTS: Final = ROOT / "benchmarks" / "RESULTS.md"
ORDER: Final = (
    "targets", "engine", "flame", "generators", "throughput", "pacing", "proof", "shared-limit", "replicas",
    "state-cost", "outbox", "validation", "checking", "hostile", "finished", "ledger", "memory", "start", "tables",
    "partitions", "rebalances", "webhooks", "fates",
)
BUSY: Final = os.getloadavg()[0]
"""Processes that wanted a core in the minute before: above 0.5 or so, read ratios and not figures."""
HEAD: Final = """\
# What was measured

Every section is written by the command it names; `make bench` runs them all, in a virtual environment of their own.
Contenders of one table ran in turns in one run on one machine: compare them with each other, and not with
figures from elsewhere. Where a rival is better, the table says so.
"""
_SECTION: Final = re.compile(r"<!-- section: (\S+) -->\n(.*?)<!-- end: \1 -->\n", re.DOTALL)


def write(name: str, title: str, *parts: str, to: Path = RESULTS) -> None:
    """Replace this section, or add it, and print it; `parts` are paragraphs and tables."""
    section = "\n\n".join((f"## {title}", _origin(), *parts)) + "\n"
    sections = dict(_SECTION.findall(to.read_text())) if to.exists() else {}
    sections[name] = section
    names = sorted(sections, key=lambda one: (ORDER.index(one) if one in ORDER else len(ORDER), one))
    text = HEAD + "".join(f"\n<!-- section: {one} -->\n{sections[one]}<!-- end: {one} -->\n" for one in names)
    half = to.with_suffix(".half")
    half.write_text(text)
    half.replace(to)  # whoever stops it never leaves half a page
    print(section)


def tell(name: str, title: str, *parts: str) -> None:
    """Print the section; with `--save` on the command line it is written too."""
    if "--save" in sys.argv:
        write(name, title, *parts)
    else:
        print("\n\n".join((f"## {title}", _origin(), *parts)))


def numbers(*defaults: int) -> list[int]:
    """The numbers on the command line, and defaults for those that are not there."""
    given = [int(text) for text in sys.argv[1:] if text != "--save"]
    return [*given, *defaults[len(given) :]]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are figures and stand at the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def cells(page: str) -> dict[tuple[str, str, str], str]:
    """Every cell of RESULTS.md by (section, row, column), with the names that a figure may give to them."""
    found: dict[tuple[str, str, str], str] = {}
    for section, text in _SECTION.findall(page):
        heading = ""
        head: list[str] = []
        for line in text.splitlines():
            if line.startswith("### "):
                heading = line[4:]
            if not line.startswith("|"):
                head = []
                continue
            row = [cell.strip() for cell in line.strip("|").split("|")]
            if not head:
                head = row
            for place in (section, f"{section} > {heading}"):
                for name in (row[0], " / ".join(row[:2])):
                    for column, cell in zip(head, row, strict=True):
                        found.setdefault((place, name, column), cell)
    return found


def commands(page: str) -> dict[str, str]:
    """The command that wrote each section, as it stands there."""
    found = ((name, re.search(r"^`[^`]+`", text, re.MULTILINE)) for name, text in _SECTION.findall(page))
    return {name: command[0] for name, command in found if command}


def _origin() -> str:
    command = shlex.join(["python", *sys.argv])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"`{command}`, {day}; {machine()}; load {BUSY:.1f} from others when it began"
