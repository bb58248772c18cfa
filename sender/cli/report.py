"""`sender report`: one HTML page, or text, from outcome logs and benchmark results."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import OutputError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from sender.report.section import Section

HELP: Final = """Make one HTML page that needs no network from outcome logs and from what `sender bench --save` wrote:
rate against the limit, latency, what became of the jobs and of doubts, every job that was not sent, errors, the
slowest jobs; several runs side by side; and what became of the deliveries where sender follow has written it beside a
log. Each option can also be set as SENDER_REPORT_… in the environment."""
DEFAULT_LIMIT: Final = 100.0
DEFAULT_OUT: Final = "report.html"
MOST_FILES: Final = 50
WRITTEN: Final = {"png": "picture", "csv": "table of figures"}
MOST_DRAWN: Final = 20
"""Charts in one picture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", metavar="OUTCOMES|BENCH", nargs="+", help="outcome logs (.gz too), benchmark results")
    parser.add_argument("--out", metavar="FILE", help=f"the page; - is stdout (default: {DEFAULT_OUT})")
    parser.add_argument("--png", metavar="FILE", help="draw rate and latency over time there as a picture, too")
    parser.add_argument("--csv", metavar="FILE", help="write the figures of the runs there as CSV, too; - is stdout")
    parser.add_argument("--unsent", metavar="FILE", help="write every job that was not sent there as CSV; - is stdout")
    parser.add_argument("--text", action="store_true", default=None, help="print the figures instead of a page")
    parser.add_argument("--limit", metavar="N",
                        help=f"limit per second of the rate chart; 0 is none (default: {DEFAULT_LIMIT:g})")
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: sender report)")


def run(args: argparse.Namespace) -> int:
    """Read, and write the page or the text, and what else was asked for."""
    from sender.report.figures_file import figures_csv
    from sender.report.make import make_report
    from sender.report.unsent_file import open_unsent

    limit = _limit(_given(args.limit, "LIMIT"))
    paths = [Path(name) for name in args.files]
    if len(paths) > MOST_FILES:
        raise UsageError(f"a report takes at most {MOST_FILES} files")
    as_text = bool(args.text) if args.text is not None else _flag(os.environ)
    outputs = _outputs(args, paths, as_text=as_text)
    make = _text if as_text else _page(_given(args.title, "TITLE") or "sender report")
    with open_unsent(outputs.get("unsent")) as tell_unsent:
        report = make_report(paths, limit or None, tell_unsent)
    _write("out", outputs["out"], make(report.shown).encode())
    if "png" in outputs:
        _write("png", outputs["png"], _picture(report.sections))
    if "csv" in outputs:
        _write("csv", outputs["csv"], figures_csv(report.runs).encode())
    return 0


def _outputs(args: argparse.Namespace, paths: list[Path], *, as_text: bool) -> dict[str, str]:
    """Where to write what; never over what is read, and one thing alone to stdout."""
    named = {name: _given(getattr(args, name), name.upper()) for name in ("out", "png", "csv", "unsent")}
    named["out"] = "-" if as_text else named["out"] or DEFAULT_OUT
    outputs = {name: where for name, where in named.items() if where is not None}
    if outputs.get("png") == "-":
        raise UsageError("--png: name a file")
    for name, where in outputs.items():
        if any(path.exists() and Path(where).exists() and path.samefile(where) for path in paths if where != "-"):
            raise UsageError(f"--{name}: {where} is one of the files to be read")
    if len(set(outputs.values())) < len(outputs):
        raise UsageError("--out, --png, --csv and --unsent must not name the same file, nor stdout both")
    return outputs


def _text(sections: list[Section]) -> str:
    from sender.report.text_page import text

    return text(sections)


def _page(title: str) -> Callable[[list[Section]], str]:
    from sender.report.page import page

    return lambda sections: page(sections, title)


def _picture(sections: list[Section]) -> bytes:
    from sender.report.plots import draw_png

    charts = [(f"{section.title}: {chart.title}", chart)
              for section in sections for chart in section.charts if chart.axis == "time"]
    if not charts:
        raise UsageError("--png: there is nothing to draw, no request was written")
    return draw_png(charts[:MOST_DRAWN])


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


def _write(option: str, where: str, content: bytes) -> None:
    if where == "-":
        sys.stdout.write(content.decode())
        return
    try:
        Path(where).write_bytes(content)
    except OSError as error:
        raise OutputError(f"--{option}: {where} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"sender: the {WRITTEN.get(option, 'report')} is in {where}\n")
