"""`sender preview`: jobs as they would be sent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from sender.cli.arguments import add_settings
from sender.cli.send import INPUT_HELP, make_plan
from sender.cli.send import TEXTS as SEND_TEXTS
from sender.config.settings import SETTINGS
from sender.errors import OutputError, UsageError

if TYPE_CHECKING:
    import argparse

    from sender.send.preview.preview import Preview
    from sender.send.send_plan import SendPlan

HELP: Final = """Show the first jobs as they would be sent, with warnings, and count what would be sent, refused, kept
out and repeated. Nothing is sent or written but the page. With a key the templates are named. Exit 1 if a job is
refused by a check."""
TABLES: Final = ("api", "input", "safety")
OTHERS: Final = (
    "kind", "identity", "rate", "retry", "outcomes", "ledger", "json", "require_identifiers", "risky_extensions",
)
TEXTS: Final = {"json": "print it as one JSON object"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help=INPUT_HELP)
    parser.add_argument("-n", metavar="N", dest="number", type=_count, default=3, help="so many jobs (default: 3)")
    parser.add_argument("--row", metavar="N", type=_count, help="this row or line alone, without the counts")
    parser.add_argument("--html", action="store_true", help="write one page that needs no network")
    parser.add_argument("--out", metavar="PATH", help="where to write it (default: preview.html)")
    names = [name for name, setting in SETTINGS.items() if setting.table in TABLES]
    add_settings(parser, [*names, *OTHERS], texts=SEND_TEXTS | TEXTS)


def run(args: argparse.Namespace) -> int:
    """Look, show it, and return the exit status."""
    plan = make_plan(args, sends=False)
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop
    from sender.send.preview.preview import look_at_all, look_at_row
    from sender.send.preview.template_names import template_names

    if args.out and not args.html:
        raise UsageError("--out names the page: ask for it with --html")
    set_up(plan.settings.log_format, plan.settings.log_level)
    names = run_loop(template_names(plan))
    preview = look_at_row(plan, args.row, names) if args.row else look_at_all(plan, args.number, names)
    _show(preview, plan, Path(args.out or "preview.html") if args.html else None)
    return 1 if any(one.status == "invalid" for one in preview.unsent) else 0


def _show(preview: Preview, plan: SendPlan, page: Path | None) -> None:
    from sender.send.preview.preview_page import preview_page
    from sender.send.preview.preview_text import preview_text

    if page is not None:
        _write(page, preview_page(preview))
    elif plan.settings.json:
        sys.stdout.write(orjson.dumps(preview.as_json()).decode() + "\n")
    else:
        sys.stdout.write(preview_text(preview))


def _write(path: Path, page: str) -> None:
    """For nobody else's eyes: it holds people's data."""
    try:
        with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(page)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"sender: written to {path}\n")


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 13 else 0
    if number < 1:
        raise UsageError("-n and --row take a whole number, 1 or more")
    return number
