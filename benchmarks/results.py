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
    "engine", "throughput", "pacing", "proof", "shared-limit", "replicas", "validation", "hostile", "ledger",
    "memory", "start", "partitions",
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
    to.write_text(HEAD + "".join(f"\n<!-- section: {one} -->\n{sections[one]}<!-- end: {one} -->\n" for one in names))
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


def _origin() -> str:
    command = shlex.join(["python", *sys.argv])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"`{command}`, {day}; {machine()}; load {BUSY:.1f} from others when it began"
