"""`--canary N --until RULE`: the others follow when enough of the canary has arrived (docs/guard-rails.md)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import HaltError, UsageError
from sender.follow.delivery_log import beside
from sender.follow.fate import FATES
from sender.follow.follow_run import follow_lists
from sender.follow.followed_run import OutcomeRun
from sender.follow.following import Following
from sender.follow.until import Until
from sender.runtime.file_lock import is_locked
from sender.runtime.screen import SCREEN

if TYPE_CHECKING:
    from pathlib import Path

    from sender.engine.api_reader import ApiReader
    from sender.follow.books import FateBooks
    from sender.runtime.stop_signals import StopRequest
    from sender.send.send_plan import SendPlan

USUAL_TIME: Final = 900.0
"""Seconds that a canary gets, unless `--for` says otherwise."""

log = structlog.get_logger()


def check_until(text: str, outcomes: Path, *, readable: bool) -> None:
    """UsageError for what is no rule, or where nobody could tell whether it holds."""
    if not Until.parse(text).terms:
        return
    if not readable:
        raise UsageError("--until asks the API what became of the canary, and the key may not read: nothing was sent")
    if is_locked(beside(outcomes)):
        raise UsageError(
            f"--until follows the canary itself, and {beside(outcomes)} is in use by a sender follow: end that one "
            "first; nothing was sent"
        )


async def arrived(plan: SendPlan, reader: ApiReader, stop: StopRequest) -> bool:
    """Follow what the run's log has sent until the rule holds, and tell of it; False if it does not, or at a stop.

    HaltError when the key may not read any more, or somebody else follows the run by now.
    """
    settings = plan.settings
    until, seconds = Until.parse(settings.until), settings.follow_for or USUAL_TIME
    async with AsyncExitStack() as stack:
        following = await _follow(plan.outcomes)
        stack.push_async_callback(following.aclose)
        log.info("canary: following what became of it", until=until.text, seconds=seconds)
        work = follow_lists(following, reader, until, seconds, settings.reconcile_lag, to_the_end=False)
        holds = await stop.unless_asked(work)
        books = following.books
        SCREEN.write(_told(books, until, holds=bool(holds)))
        return bool(holds) and books.sent > 0


async def _follow(outcomes: Path) -> Following:
    """From here on jobs were sent, so what is wrong ends the run as a halt."""
    try:
        return await Following.open([OutcomeRun(outcomes)])
    except UsageError as error:
        raise HaltError(str(error)) from None


def _told(books: FateBooks, until: Until, *, holds: bool) -> str:
    stands = ", ".join(f"{books.number(fate):,} {fate}" for fate in FATES if books.number(fate) or fate == "delivered")
    return f"canary: of {books.sent:,} deliveries {stands}: {until.text} {'holds' if holds else 'does not hold'}\n"
