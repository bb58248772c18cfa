"""`sender redrive`: letters of a dead letter queue go back to work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.cli.arguments import add_settings
from sender.config.load import load, state_of, url_in, workspaces_of
from sender.consume.letter_filter import words
from sender.errors import UsageError
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse

    from sender.config.settings import Settings

HELP: Final = """Put letters of a dead letter queue back into the queue; each is confirmed there before it is taken out
here, so that a run that is killed loses none, and the consumer knows one that comes twice. With the consumer's --state
(or --ledger) letters whose jobs stand as sent by now are removed, and what was in doubt and is surely absent goes back.
What is still in doubt stays. A job that the API refused is tried again, with another payload too. Needs no key."""
SETTINGS: Final = (
    "region", "base_url", "allow_http", "dead_letter_file", "ledger", "state", "state_file", "keep", "durability",
    "log_format", "log_level",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("dead_letter", metavar="DEAD_URL", nargs="?", help="the dead letter queue's URL")
    parser.add_argument("--to", metavar="QUEUE_URL", required=True, help="the queue, as its consumers name it")
    parser.add_argument("--code", metavar="CODE,…", help="only letters with one of these codes")
    parser.add_argument("--status", metavar="STATUS,…", help="only letters of jobs that ended so")
    parser.add_argument(
        "--repaired", metavar="FILE",
        help="job lines that take the place of the letters with the same id; no other letter goes back",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_settings(
        parser, SETTINGS, texts={
            "ledger": "the memory of a consumer that has one of its own, and is not running",
            "state": "the consumers' memory, to know what became of the jobs since",
            "base_url": "the API that the memory belongs to",
        },
    )


def run(args: argparse.Namespace) -> int:
    """Redrive, print what went where, and return the exit status."""
    from sender.consume.letter_filter import LetterFilter
    from sender.consume.redrive import RedrivePlan, redrive
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    settings = load(vars(args))
    set_up(settings.log_format, settings.log_level)
    plan = RedrivePlan(
        settings, dead_letter_of(args.dead_letter, settings), args.to,
        LetterFilter(words("--status", args.status), words("--code", args.code)),
        _base_urls(settings, args.config or os.environ.get("SENDER_CONFIG", "")), state_of(settings),
        None if args.repaired is None else _repaired(Path(args.repaired)), args.dry_run,
    )
    result = run_loop(redrive(plan))
    sys.stdout.write(f"{'dry run: ' if args.dry_run else ''}{result}\n")
    return 0


def dead_letter_of(given: str | None, settings: Settings) -> str:
    """The URL as it was given, or that of the consumer's own settings."""
    url = given or settings.dead_letter or url_in(settings.dead_letter_file)
    if not url:
        raise UsageError("name the URL of the dead letter queue, or the file that holds it with --dead-letter-file")
    return url


def _base_urls(settings: Settings, config: str) -> dict[str | None, str]:
    base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    found: dict[str | None, str] = {None: base_url}
    for one in workspaces_of(config):
        url = one.base_url or (REGIONS[one.region] if one.region else base_url)
        found[one.name] = check_base_url(url, allow_http=settings.allow_http)
    return found


def _repaired(path: Path) -> dict[str, bytes]:
    """Job lines by identity."""
    from sender.validation.parser import Parser

    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"--repaired {path} cannot be read: {error.strerror}") from None
    parser, found = Parser(), {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            key = parser.key_of(line)
            if key is None:
                raise UsageError(f"{path}:{number}: a repaired job line needs a payload and the id of its letter")
            found[key] = line
    return found
