"""`sender dead`: what lies in a dead letter queue."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

import orjson

from sender.cli.arguments import add_settings
from sender.cli.redrive import dead_letter_of
from sender.config.load import load
from sender.consume.letter_filter import words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from sender.queues.letters import Letter

HELP: Final = """List the letters of a dead letter queue, the oldest first: when, status and code, id, and the reason;
payloads are not shown but with --jobs. Nothing is taken out; RabbitMQ shows letters to nobody else meanwhile."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("dead_letter", metavar="DEAD_URL", nargs="?", help="the dead letter queue's URL")
    parser.add_argument("--code", metavar="CODE,…", help="only letters with one of these codes")
    parser.add_argument("--status", metavar="STATUS,…", help="only letters of jobs that ended so")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--count", action="store_true", help="how many there are of each status and code")
    form.add_argument("--json", action="store_true", help="a line of JSON for each")
    form.add_argument("--jobs", action="store_true", help="their job lines, to be repaired for sender redrive")
    add_settings(parser, ("dead_letter_file", "log_format", "log_level"))


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    from sender.consume.dead_listing import look_through
    from sender.consume.letter_filter import LetterFilter
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    settings = load({name: value for name, value in vars(args).items() if name != "json"})
    set_up(settings.log_format, settings.log_level)
    wanted = LetterFilter(words("--status", args.status), words("--code", args.code))
    counts: Counter[tuple[str, str]] = Counter()

    def count(letter: Letter) -> None:
        counts[letter.status, letter.code] += 1

    tell: Callable[[Letter], None] = _tell
    for asked, form in ((args.count, count), (args.json, _tell_json), (args.jobs, _tell_job)):
        tell = form if asked else tell
    run_loop(look_through(dead_letter_of(args.dead_letter, settings), wanted, tell))
    for (status, code), number in sorted(counts.items()):
        sys.stdout.write(f"{number:>10,}  {_plain(status)} {_plain(code)}\n")
    return 0


def _tell(letter: Letter) -> None:
    from sender.consume.dead_listing import facts

    known = facts(letter)
    shown = [known["at"] or "-", letter.status, letter.code, known["id"] or "-", known["error"] or ""]
    sys.stdout.write("  ".join(map(_plain, shown)).rstrip() + "\n")


def _tell_json(letter: Letter) -> None:
    from sender.consume.dead_listing import facts

    sys.stdout.write(orjson.dumps(facts(letter)).decode() + "\n")


def _tell_job(letter: Letter) -> None:
    sys.stdout.buffer.write(letter.data.replace(b"\n", b" ") + b"\n")


def _plain(text: str) -> str:
    """Anyone may have written the letter: nothing of it moves a terminal's cursor."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
