"""Opening a session: preflight, ledger or shared state, outcome log, lanes; what is opened first is closed last."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sender.engine.preflight import Preflight, look_ahead
from sender.engine.workspace import Workspace
from sender.outcomes.outcome_log import OutcomeLog
from sender.outcomes.recorder import GATHER
from sender.runtime.supervisor import Supervisor
from sender.session.concurrent_runs import ConcurrentRuns
from sender.session.ledger_registry import register
from sender.session.memories import knows_log, open_memory
from sender.session.other_memories import find_ledgers
from sender.session.session import Session
from sender.session.stores import memory_of, open_ledger, open_shared, refuse_older_log, shown_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sender.ledger import Ledger
    from sender.ledger.ledger_view import LedgerView
    from sender.ledger.sqlite_ledger import SqliteLedger
    from sender.runtime.metrics import Observer
    from sender.runtime.stop_signals import StopRequest
    from sender.session.front_end import FrontEnd
    from sender.session.session_plan import SessionPlan
    from sender.shared_state.shared_ledger import SharedLedger

ADOPT_BATCH: Final = 1000
MARGIN: Final = 1.0
"""Seconds by which two readings of the clock may differ over a restart."""

log = structlog.get_logger()


@asynccontextmanager
async def open_session(
    plan: SessionPlan, front_end: FrontEnd, stop: StopRequest, *, observer: Observer | None = None
) -> AsyncIterator[tuple[Session, Preflight]]:
    """A session whose lanes do not work yet, and what the preflight told; UsageError when something is surely wrong."""
    async with AsyncExitStack() as stack:
        supervisor = Supervisor()
        state = None
        if plan.state:
            state = await open_shared(plan.state, plan.base_url, plan.settings, stack, on_lost=supervisor.fail)
            await refuse_older_log(plan.outcomes, state)
        workspace = Workspace(
            plan.base_url, plan.key, plan.settings, time.time, pacers=state, joins=True, observer=observer
        )
        stack.push_async_callback(workspace.transport.aclose)
        seen = await _look_ahead(plan, workspace, stop)
        ledger: SqliteLedger | SharedLedger
        if state is None:
            ledger = await _open_own(plan, workspace, seen.workspace, stack)
        else:
            ledger = state.ledger
        if seen.workspace is not None:
            await ledger.bind_workspace(seen.workspace)
        outcome_log = OutcomeLog.open(plan.outcomes)
        stack.callback(outcome_log.close)
        await _announce(ledger, plan)
        await stack.enter_async_context(supervisor)
        session = Session(workspace, ledger, outcome_log, supervisor, front_end, gather=GATHER)
        if state is None:
            session.doubts.find_others = partial(_find_others, plan, seen.workspace)
        await session.open(seen)
        stop.on_asked(session.stop)
        yield session, seen


def _find_others(plan: SessionPlan, workspace: str | None) -> list[LedgerView]:
    folders = {plan.ledger.resolve().parent, plan.outcomes.resolve().parent}
    return [memory.view for memory in find_ledgers(plan.ledger, folders, memory_of(plan), workspace)]


async def _adopt(ledger: SqliteLedger, path: Path, host: str) -> None:
    """Take over what another memory of the same API knows; UsageError when it is in use, or no such memory."""
    memory = open_memory(path, host)
    try:
        jobs, number = memory.jobs(), 0
        while batch := list(islice(jobs, ADOPT_BATCH)):
            number += await ledger.adopt(batch)
    finally:
        memory.close()
    log.info("a memory was taken over", path=str(path), jobs=number)


async def _open_own(
    plan: SessionPlan, workspace: Workspace, name: str | None, stack: AsyncExitStack
) -> SqliteLedger:
    """The run's own ledger file, known to other runs of this user, with what it is to take over."""
    host = memory_of(plan)
    ledger = await open_ledger(plan.ledger, host, plan.settings, stack)
    wait_out(ledger, workspace)
    register(plan.ledger, plan.outcomes)
    if plan.settings.adopt:
        await _adopt(ledger, Path(plan.settings.adopt), host)
    if _is_empty(plan.outcomes) or _is_same(plan.outcomes, plan.settings.adopt):
        await ledger.put_note("log", b"own")
    elif not await knows_log(ledger, plan.outcomes):
        await ledger.put_note("log", b"unread")
    if not (plan.settings.send_again or plan.settings.redirect_to):  # what was rehearsed may be rehearsed again
        runs = ConcurrentRuns(plan.ledger, host, name)
        stack.callback(runs.close)
        ledger.after_hand_over = runs.refuse
    return ledger


def _is_empty(path: Path) -> bool:
    return not path.is_file() or not path.stat().st_size


def _is_same(path: Path, name: str) -> bool:
    return bool(name) and path.resolve() == Path(name).resolve()


async def _look_ahead(plan: SessionPlan, workspace: Workspace, stop: StopRequest) -> Preflight:
    """The preflight, which a stop cuts short."""
    if not plan.settings.preflight:
        return Preflight()
    seen = await stop.unless_asked(look_ahead(workspace.reader.look, plan.base_url)) or Preflight()
    if seen.warning:
        log.warning(seen.warning)
    return seen


def wait_out(ledger: SqliteLedger, workspace: Workspace) -> None:
    """Keep the ceiling over a restart: what the last run wrote may still count.

    A run that was killed may have written up to its death, of which nobody knows when it was: jobs are handed over
    before they are written, and may wait. So each lane waits for its whole window.
    """
    if ledger.last_hand_over is None:
        return
    now = asyncio.get_running_loop().time()
    since = time.time() - ledger.last_hand_over if ledger.was_clean else 0.0
    for pacer in workspace.pacers.values():
        if since < pacer.window:  # so it is, too, where the clock was set back
            pacer.pause_until(now + min(pacer.window, pacer.window - since + MARGIN))


async def _announce(ledger: Ledger, plan: SessionPlan) -> None:
    counts = await ledger.count()
    finished = sum(number for state, number in counts.items() if state in ("sent", "rejected"))
    log.info("ledger", path=shown_memory(plan), finished=finished, in_doubt=counts.get("in_doubt", 0))
