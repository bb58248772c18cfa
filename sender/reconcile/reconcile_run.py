"""One run of `sender reconcile`: resolve the jobs in doubt of a ledger by reading the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.reconcile.reconcile_result import Changed, check_ledger, tell
from sender.runtime.stop_signals import StopRequest, StopSignals
from sender.session.front_end import Listener
from sender.session.opening import open_session

if TYPE_CHECKING:
    from sender.session.session_plan import SessionPlan


async def reconcile(plan: SessionPlan) -> int:
    """Read the API for every job in doubt; 0 when none is left, 3 when a signal came before."""
    check_ledger(plan)
    stop = StopRequest()
    with StopSignals(stop):
        async with open_session(plan, Listener(), stop) as (session, _):
            await stop.unless_asked(session.doubts.resolve())
            await session.recorder.drain()
            resolved = session.doubts.resolved
            changed = [Changed(outcome.id, outcome.status, outcome.result) for outcome in resolved.ended]
            status = await tell(plan, session.ledger, changed, resolved.still_open)
            if session.halted is not None:
                raise session.halted
            return 3 if status and stop.asked else status
