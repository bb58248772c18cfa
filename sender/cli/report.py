"""`sender report`: one HTML page, or text, from outcome logs and benchmark results."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import OutputError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from sender.report.section import Section

HELP: Final = """Make one HTML page that needs no network from outcome logs and from what `sender bench --save` wrote:
rate against the limit, latency, what became of the jobs, errors, the slowest jobs. Each option can also be set as
SENDER_REPORT_… in the environment."""
DEFAULT_LIMIT: Final = 100.0
DEFAULT_OUT: Final = "report.html"
MOST_FILES: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", metavar="OUTCOMES|BENCH", nargs="+", help="outcome logs (.gz too), benchmark results")
    parser.add_argument("--out", metavar="FILE", help=f"the page; - is stdout (default: {DEFAULT_OUT})")
    parser.add_argument("--text", action="store_true", default=None, help="print the figures instead of a page")
    parser.add_argument("--limit", metavar="N",
                        help=f"limit per second of the rate chart; 0 is none (default: {DEFAULT_LIMIT:g})")
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: sender report)")


def run(args: argparse.Namespace) -> int:
    """Read, and write the page or the text."""
    from sender.report.make import make_sections

    limit = _limit(_given(args.limit, "LIMIT"))
    out = _given(args.out, "OUT") or DEFAULT_OUT
    paths = [Path(name) for name in args.files]
    if len(paths) > MOST_FILES:
        raise UsageError(f"a report takes at most {MOST_FILES} files")
    as_text = bool(args.text) if args.text is not None else _flag(os.environ)
    if not as_text:
        _keep_apart(out, paths)
    sections = make_sections(paths, limit or None)
    if as_text:
        return _print(sections)
    return _write(sections, out, _given(args.title, "TITLE") or "sender report")


def _given(value: str | None, name: str) -> str | None:
    if value == "":
        raise UsageError(f"--{name.lower()}: must not be empty")
    return value if value is not None else os.environ.get(f"SENDER_REPORT_{name}") or None


def _flag(environment: Mapping[str, str]) -> bool:
    return environment.get("SENDER_REPORT_TEXT", "").lower() in ("1", "true", "yes", "on")


def _limit(text: str | None) -> float:
    if text is None:
        return DEFAULT_LIMIT
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < 1e9:
        raise UsageError("--limit: must be a number of 0 or more")
    return limit


def _keep_apart(out: str, paths: list[Path]) -> None:
    """The page is never written over what it is made from."""
    for path in paths:
        if out != "-" and path.exists() and Path(out).exists() and path.samefile(out):
            raise UsageError(f"--out: {out} is one of the files to be read")


def _print(sections: list[Section]) -> int:
    from sender.report.text import text

    sys.stdout.write(text(sections))
    return 0


def _write(sections: list[Section], out: str, title: str) -> int:
    from sender.report.page import page

    document = page(sections, title)
    if out == "-":
        sys.stdout.write(document)
        return 0
    try:
        Path(out).write_text(document, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"--out: {out} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"sender: the report is in {out}\n")
    return 0
