"""`sender follow`: what became of what was sent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.cli.arguments import add_settings
from sender.config.api_key import ApiKey
from sender.config.load import load
from sender.errors import UsageError
from sender.follow.follow_plan import FollowPlan
from sender.follow.until import Until
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse

HELP: Final = """Ask the API what became of every send of these runs, by its lists, and write it to
NAME.deliveries.jsonl beside each outcome log; the last line of a delivery holds. The same command goes on where it
stopped, also beside a run that still sends. Exit 0 when --until holds (open<1% by default), 1 when the time is up
before."""
SETTINGS: Final = (
    "region", "base_url", "allow_http", "api_key_file", "proxy", "timeout", "keep_alive", "rate_app", "rate",
    "reconcile_lag", "until", "follow_for", "progress", "json", "log_format", "log_level",
)
DEFAULT_UNTIL: Final = "open<1%"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="an outcome log; or a ledger whose log is gone")
    parser.add_argument("--once", action="store_true", help="read once, and end")
    add_settings(parser, SETTINGS, texts={"rate": "LANE=N: app is the lane of our own reading, half of which is used"})


def run(args: argparse.Namespace) -> int:
    """Follow, and return the exit status."""
    plan = make_plan(args)
    from sender.follow.follow_run import follow
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    set_up(plan.settings.log_format, plan.settings.log_level)
    return run_loop(follow(plan))


def make_plan(args: argparse.Namespace) -> FollowPlan:
    """Resolve everything that can be known before; UsageError tells what is wrong."""
    settings = load(vars(args))
    if not args.runs:
        raise UsageError("name a RUN: the outcome log of what was sent, like receipts.jsonl.outcomes.jsonl")
    base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    seconds = 0.0 if args.once else settings.follow_for or math.inf
    until = Until.parse(settings.until or ("" if args.once or settings.follow_for else DEFAULT_UNTIL))
    return FollowPlan(
        settings, base_url, ApiKey.load(settings.api_key_file), tuple(map(Path, args.runs)), until, seconds
    )
