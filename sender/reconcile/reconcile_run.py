"""One run of `sender reconcile`: settle the doubts of a ledger by reading the API, or one by hand."""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import orjson

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.doubts import carry
from sender.doubts.resolver import settled
from sender.errors import UsageError
from sender.jobs.problem import Problem
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.outcomes.outcome_log import OutcomeLog
from sender.outcomes.recorder import FinishedJob, Recorder
from sender.runtime.stop_signals import StopRequest, StopSignals
from sender.runtime.supervisor import Supervisor
from sender.session.front_end import Listener
from sender.session.opening import open_session
from sender.session.stores import open_shared, shown_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.errors import OutputError
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome
    from sender.session.session_plan import SessionPlan

BY_HAND = Problem("settled_by_hand", None, "closed by sender reconcile --settle failed; a later run tries it anew")


async def reconcile(plan: SessionPlan) -> int:
    """Read the API for every job in doubt; 0 when none is left, 3 when a signal came before."""
    _find_ledger(plan)
    stop = StopRequest()
    with StopSignals(stop):
        async with open_session(plan, Listener(), stop) as (session, _):
            await stop.unless_asked(session.doubts.settle())
            await session.recorder.drain()
            settlement = session.doubts.settlement
            why = {doubtful.key: reason for doubtful, reason in settlement.still_open}
            status = await _tell(plan, session.ledger, settlement.settled, why)
            if session.halted is not None:
                raise session.halted
            return 3 if status and stop.asked else status


async def settle_by_hand(plan: SessionPlan, status: str, ids: Sequence[str]) -> int:
    """Close these jobs as somebody found them; UsageError, and nothing changed, when one is not in doubt."""
    _find_ledger(plan)
    async with AsyncExitStack() as stack:
        supervisor = Supervisor()
        ledger = await _open_ledger(plan, supervisor, stack)
        outcome_log = OutcomeLog.open(plan.outcomes)
        stack.callback(outcome_log.close)
        recorder = Recorder(ledger, outcome_log, _Told(supervisor))
        await carry(ledger, 0.0)
        await recorder.replay()
        found = {one.id: one for one in await _claimants(ledger) if one.id in ids}
        _check(found, status, ids)
        await stack.enter_async_context(supervisor)
        supervisor.start(recorder.run(), "recorder")
        outcomes = []
        for one in found.values():
            problems = () if status == "sent" else (BY_HAND,)
            outcome = one.outcome("sent" if status == "sent" else "failed", *problems, finished_at=time.time())
            recorder.put(FinishedJob(outcome, settled(one, outcome), later=True))
            outcomes.append(outcome)
        await recorder.drain()
        if supervisor.failure is not None:
            raise supervisor.failure
        return await _tell(plan, ledger, outcomes, {})


class _Told:
    """Hears from the recorder: a log that cannot be written ends the command."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `RecorderListener.recorded`."""

    def log_failed(self, error: OutputError) -> None:
        """See `RecorderListener.log_failed`."""
        self._supervisor.fail(error)


def _find_ledger(plan: SessionPlan) -> None:
    if not plan.state and not plan.ledger.exists():
        raise UsageError(f"there is no ledger {plan.ledger}: name the INPUT that was sent, or its --ledger")


async def _open_ledger(plan: SessionPlan, supervisor: Supervisor, stack: AsyncExitStack) -> Ledger:
    if plan.state:
        return (await open_shared(plan.state, plan.base_url, plan.settings, stack, on_lost=supervisor.fail)).ledger
    ledger = await SqliteLedger.open(plan.ledger, None, durability=plan.settings.durability)
    stack.push_async_callback(ledger.close)
    return ledger


async def _claimants(ledger: Ledger) -> list[DoubtfulJob]:
    now = time.time()
    return [DoubtfulJob.of(doubt, now) async for doubt in ledger.doubts()]


def _check(found: dict[str | None, DoubtfulJob], status: str, ids: Sequence[str]) -> None:
    missing = [one for one in ids if one not in found]
    if missing:
        raise UsageError(f"not in doubt in this ledger: {', '.join(missing)}; nothing was changed")
    accepted = [str(one.id) for one in found.values() if not one.resendable]
    if status == "failed" and accepted:
        raise UsageError(
            f"the API accepted {', '.join(accepted)}, only the delivery's id is not known: "
            "settle as sent; nothing was changed"
        )


async def _tell(plan: SessionPlan, ledger: Ledger, changed: Sequence[Outcome], why: dict[str, str]) -> int:
    left = await _claimants(ledger)
    jobs: list[dict[str, Any]] = [
        {"id": outcome.id, "status": outcome.status, **dict(outcome.result)} for outcome in changed
    ]
    jobs += [{"id": one.id, "status": "in_doubt", **_because(why.get(one.key))} for one in left]
    document = {"settled": len(changed), "in_doubt": len(left), "jobs": jobs,
                "outcomes": str(plan.outcomes), "ledger": shown_memory(plan)}
    if plan.settings.json:
        sys.stdout.write(orjson.dumps(document).decode() + "\n")
    else:
        sys.stdout.writelines(_line(job) for job in jobs)
        sys.stdout.write(f"{len(changed):,} settled, {len(left):,} still in doubt\n")
    return 1 if left else 0


def _because(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"because": reason}


def _line(job: dict[str, Any]) -> str:
    known = next((f"{name} {job[name]}" for name in ("delivery_id", "trigger_id", "newsletter_id") if name in job), "")
    return f"{job['status']:<9} {job['id']}  {known or job.get('because', '')}".rstrip() + "\n"
