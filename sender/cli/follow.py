"""`sender follow`: what became of what was sent."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.cli.arguments import add_settings
from sender.config.api_key import ApiKey
from sender.config.load import load, state_of
from sender.errors import UsageError
from sender.follow.follow_plan import FollowPlan
from sender.follow.until import Until
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse

HELP: Final = """Ask the API what became of every send of these runs, by its lists, or with --listen be told by its
reporting webhooks, and write it to NAME.deliveries.jsonl beside each outcome log; the last line of a delivery holds.
The same command goes on where it stopped, also beside a run that still sends. Exit 0 when --until holds (open<1% by
default), 1 when the time is up before."""
SETTINGS: Final = (
    "region", "base_url", "allow_http", "api_key_file", "proxy", "timeout", "keep_alive", "rate_app", "rate",
    "state", "state_file", "keep", "deliveries",
    "reconcile_lag", "until", "follow_for", "listen", "webhook_key_file", "replay_window", "tls_cert", "tls_key",
    "health_port", "health_host", "progress", "watch", "live", "live_token_file", "json", "log_format", "log_level",
)
DEFAULT_UNTIL: Final = "open<1%"
ALL: Final = "0.0.0.0"  # noqa: S104 - the vendor comes from outside
MOST_PORT: Final = 65535
MOST_KEY: Final = 4096
LEAST_KEY: Final = 8
"""Characters of a signing key; a shorter one is a slip."""


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
    state = state_of(settings)
    if bool(args.runs) == bool(state):
        raise UsageError(
            "name a RUN, the outcome log of what was sent (receipts.jsonl.outcomes.jsonl), or the --state of replicas"
        )
    base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    where = _listen(settings.listen)
    seconds = 0.0 if args.once else settings.follow_for or math.inf
    unbounded = args.once or settings.follow_for or where is not None
    until = Until.parse(settings.until or ("" if unbounded else DEFAULT_UNTIL))
    return FollowPlan(
        settings, base_url, None if where else ApiKey.load(settings.api_key_file), tuple(map(Path, args.runs)), until,
        seconds, where, _signing_key(settings.webhook_key_file) if where else b"",
        state, Path(settings.deliveries),
    )


def _listen(text: str) -> tuple[str, int] | None:
    """`PORT`, `HOST:PORT` or `[ADDRESS]:PORT`; without a host all addresses."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) <= MOST_PORT):
        raise UsageError(f"--listen {text}: name a port, or HOST:PORT")
    return host.strip("[]") or ALL, int(port)


def _signing_key(path: str) -> bytes:
    """From the file, or SENDER_WEBHOOK_KEY; never from the command line."""
    if path:
        try:
            with Path(path).open("rb") as file:
                key = file.read(MOST_KEY).strip()
        except OSError as error:
            raise UsageError(f"--webhook-key-file {path} cannot be read: {error.strerror}") from None
    else:
        key = os.environ.get("SENDER_WEBHOOK_KEY", "").strip().encode()
    if len(key) < LEAST_KEY:
        raise UsageError(
            "--listen needs the signing key of the webhook, as the vendor shows it: set SENDER_WEBHOOK_KEY, or name a "
            "file with --webhook-key-file"
        )
    return key
