"""One run of `sender follow`, from its plan to its exit status."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from sender.engine.api_reader import ReadingRefusedError
from sender.engine.preflight import look_ahead
from sender.engine.workspace import Workspace
from sender.errors import HaltError, UsageError
from sender.follow.books import books_text
from sender.follow.fate_lists import FateLists
from sender.follow.follow_view import FollowView
from sender.follow.followed_run import open_run
from sender.follow.following import Following
from sender.follow.health import open_health
from sender.follow.state_run import StateRun
from sender.follow.webhooks.listening import follow_webhooks, listen
from sender.runtime.live.open_live import open_live
from sender.runtime.progress import Progress, Snapshot
from sender.runtime.stop_signals import StopRequest, StopSignals
from sender.runtime.supervisor import Supervisor
from sender.session.stores import host_of, open_shared

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sender.engine.api_reader import ApiReader
    from sender.engine.pacing.pace import PacerFactory
    from sender.follow.follow_plan import FollowPlan
    from sender.follow.followed_run import FollowedRun
    from sender.follow.until import Until

FIRST_WAIT: Final = 5.0
"""Seconds between two readings, doubled each time nothing was new."""
MOST_WAIT: Final = 300.0
ROUNDING: Final = 0.001
WHOLE_EVERY: Final = 900.0
"""Seconds after which everything is read once more: what has arrived may be opened, or come back."""
REFUSED: Final = "the key may not read (401 or 403): give follow a key that may"

log = structlog.get_logger()


async def follow(plan: FollowPlan) -> int:
    """Follow until the condition holds (0), the time is up (1) or a signal comes (3)."""
    stop = StopRequest()
    with StopSignals(stop):
        async with AsyncExitStack() as stack:
            supervisor = Supervisor()
            supervisor.on_failure(lambda _: stop.ask())
            state = None
            if plan.state:
                state = await open_shared(plan.state, plan.base_url, plan.settings, stack, on_lost=supervisor.fail)
            runs: list[FollowedRun] = [open_run(path, host_of(plan.base_url)) for path in plan.runs]
            if state is not None:
                runs.append(StateRun(state.ledger, plan.deliveries))
            following = await Following.open(runs, waits=plan.listen is not None)
            stack.push_async_callback(following.aclose)
            view = await stack.enter_async_context(open_live("follow", plan.settings))
            if view is not None:
                view.show(FollowView(lambda: following.books, lambda: stop.asked))
            await stack.enter_async_context(supervisor)
            work = await _work(plan, following, supervisor, state, stack)
            shown = plan.settings.progress and not plan.settings.watch
            progress = Progress(partial(snapshot, following, stop), shown=shown)
            supervisor.start(progress.run(), "progress", ends=True)
            begin = asyncio.get_running_loop().time()
            holds = await stop.unless_asked(work)
            if supervisor.failure is not None:
                raise supervisor.failure
            status = exit_status(plan, holds)
            if view is not None:
                view.end(f"exit {status}")
            tell(plan, following, asyncio.get_running_loop().time() - begin)
            return status


async def _work(
    plan: FollowPlan, following: Following, supervisor: Supervisor, pacers: PacerFactory | None, stack: AsyncExitStack
) -> Coroutine[None, None, bool]:
    """What learns of fates, opened and ready."""
    await open_health(plan.settings, following, stack)
    if plan.listen is not None:
        await listen(plan, following, supervisor, stack)
        return follow_webhooks(following, plan.until, plan.seconds)
    if plan.api_key is None:
        raise ValueError("lists are not read without a key")
    workspace = Workspace(plan.base_url, plan.api_key, plan.settings, time.time, pacers=pacers, joins=True)
    stack.push_async_callback(workspace.transport.aclose)
    reader = await readable(workspace, plan.base_url)
    return follow_lists(following, reader, plan.until, plan.seconds, plan.settings.reconcile_lag)


def exit_status(plan: FollowPlan, holds: bool | None) -> int:
    """None where a signal came before: of a listener without a rule that is the usual end."""
    if holds is None:
        return 0 if plan.listen is not None and not plan.until.terms else 3
    return 0 if holds else 1


async def readable(workspace: Workspace, base_url: str) -> ApiReader:
    """The workspace's reader, at half of the lane's rate; UsageError when the key may not read."""
    seen = await look_ahead(workspace.reader.look, base_url)
    if not seen.readable:
        raise UsageError(REFUSED)
    if seen.warning:
        log.warning(seen.warning)
    workspace.reader.take_half()
    return workspace.reader


async def follow_lists(
    following: Following, reader: ApiReader, until: Until, seconds: float, lag: float, *, to_the_end: bool = True
) -> bool:
    """Read until the condition holds, or the time is up; False if it does not hold then.

    With `to_the_end` a run that still works may change what holds now. HaltError when the key may not read.
    """
    loop = asyncio.get_running_loop()
    whole_at = loop.time()
    end = whole_at + seconds
    take = partial(following.take, by="list")
    lists = FateLists(reader, following.deliveries, take, lag, following.since)
    wait = FIRST_WAIT / 2
    while True:
        now = loop.time()
        ending = now >= end - ROUNDING
        whole = now >= whole_at or ending
        await _read(lists, whole=whole)
        if whole:
            whole_at = loop.time() + WHOLE_EVERY
        grows = await following.read_on() > 0 or (to_the_end and following.grows)
        if not grows and until.holds(following.books):
            return True
        if ending or not (grows or until.may_hold(following.books)):
            return not until.terms
        wait = FIRST_WAIT if grows else min(MOST_WAIT, wait * 2)
        await asyncio.sleep(max(0.0, min(wait, end - loop.time())))


async def _read(lists: FateLists, *, whole: bool) -> None:
    try:
        await lists.read(whole=whole)
    except ReadingRefusedError:
        raise HaltError(REFUSED) from None
    if lists.failure is not None:
        log.warning("a part could not be read; it is read again", because=lists.failure)


def snapshot(following: Following, stop: StopRequest) -> Snapshot:
    """Where it stands: a delivery that is not open any more is done."""
    books = following.books
    return Snapshot(
        total=books.sent, done=books.sent - books.number("open"), sent=books.fates["delivered"],
        failed=books.sent - books.number("open") - books.fates["delivered"], stopping=stop.asked,
    )


def tell(plan: FollowPlan, following: Following, elapsed: float) -> None:
    """Print the books."""
    summary = following.books.summary()
    if plan.settings.json:
        paths = [str(path) for path in following.paths]
        document = {**summary, "elapsed_s": round(elapsed, 3), "deliveries": paths}
        sys.stdout.write(orjson.dumps(document).decode() + "\n")
        return
    lines = [books_text(summary), *(f"{'deliveries':>14}  {path}" for path in following.paths)]
    sys.stdout.write("\n".join(lines) + "\n")
