"""`sender reconcile --settle`: close jobs as somebody found them; needs neither key nor API."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.doubts.doubted_attempts import DoubtedAttempts
from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.orphans import adopt_orphans
from sender.doubts.resolution import final_record
from sender.engine.api_clock import ApiClock
from sender.engine.job_execution import result_of
from sender.errors import UsageError
from sender.jobs.kinds import SEND_KINDS
from sender.jobs.problem import Problem
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.outcomes.outcome_log import OutcomeLog
from sender.outcomes.recorder import FinishedJob, Recorder
from sender.reconcile.reconcile_result import Changed, check_ledger, tell
from sender.runtime.supervisor import Supervisor
from sender.session.stores import open_shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.errors import OutputError
    from sender.ledger.ledger import Ledger
    from sender.outcomes.outcome import Outcome
    from sender.session.session_plan import SessionPlan

BY_HAND: Final = Problem(
    "settled_by_hand", None, "closed by sender reconcile --settle failed; a later run tries it anew"
)
UNCHANGED: Final = "nothing was changed"


class _Named(NamedTuple):
    """A job that was named on the command line."""

    job: DoubtfulJob
    made: tuple[tuple[str, Any], ...]
    """What it made at the API, where that was said."""
    in_doubt: bool
    """False for one that was closed before, and whose delivery is told now."""

    @property
    def result(self) -> str | None:
        return result_of(self.job.path, dict(self.made))


async def settle_by_hand(plan: SessionPlan, status: str, names: Sequence[str]) -> int:
    """Close these jobs, each `ID` or `ID=DELIVERY_ID`; UsageError, and nothing changed, when one cannot be."""
    check_ledger(plan)
    async with AsyncExitStack() as stack:
        supervisor, clock = Supervisor(), ApiClock()
        ledger = await _open_ledger(plan, supervisor, stack)
        outcome_log = OutcomeLog.open(plan.outcomes)
        stack.callback(outcome_log.close)
        recorder = Recorder(ledger, outcome_log, _RecorderListener(supervisor))
        await adopt_orphans(ledger, clock)
        await recorder.replay()
        doubted = DoubtedAttempts(ledger, clock, plan.settings.reconcile_lag)
        changed, ended = await close(ledger, clock, doubted, status, names)
        await stack.enter_async_context(supervisor)
        supervisor.start(recorder.run(), "recorder")
        for one in ended:
            recorder.put(one)
        await recorder.drain()
        if supervisor.failure is not None:
            raise supervisor.failure
        return await tell(plan, ledger, changed, ())


async def close(
    ledger: Ledger, clock: ApiClock, doubted: DoubtedAttempts, status: str, names: Sequence[str]
) -> tuple[list[Changed], list[FinishedJob]]:
    """What changes for the jobs that are named, and their ends, which are still to be recorded; UsageError as above."""
    in_doubt = [DoubtfulJob.of(doubt, clock) async for doubt in ledger.doubts()]
    await doubted.take_up(in_doubt)
    named = _find(names, in_doubt, doubted.unbound)
    await _check(named, status, ledger, doubted)
    ended = [
        FinishedJob(outcome, final_record(job, outcome), later=True)
        for outcome, job in await _outcomes(named, status, ledger)
    ]
    await doubted.bind({one.job.key: one.result for one in named if one.result is not None})
    return [Changed(one.job.id, status, one.made) for one in named], ended


class _RecorderListener:
    """A log that cannot be written ends the command."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `RecorderListener.recorded`."""

    def log_failed(self, error: OutputError) -> None:
        """See `RecorderListener.log_failed`."""
        self._supervisor.fail(error)


async def _open_ledger(plan: SessionPlan, supervisor: Supervisor, stack: AsyncExitStack) -> Ledger:
    if plan.state:
        return (await open_shared(plan.state, plan.base_url, plan.settings, stack, on_lost=supervisor.fail)).ledger
    ledger = await SqliteLedger.open(plan.ledger, None, durability=plan.settings.durability)
    stack.push_async_callback(ledger.close)
    return ledger


def _find(names: Iterable[str], in_doubt: Sequence[DoubtfulJob], closed: Sequence[DoubtfulJob]) -> list[_Named]:
    """The jobs that are meant; those in doubt first, else those that were and whose delivery is not known."""
    open_jobs, former = {one.id: one for one in in_doubt}, {one.id: one for one in closed}
    found: dict[str | None, _Named] = {}
    missing = []
    for name in names:
        if name in open_jobs:
            found[name] = _Named(open_jobs[name], (), in_doubt=True)
        elif (split := _split(name, open_jobs.keys() | former.keys())) is not None:
            job = open_jobs.get(split[0]) or former[split[0]]
            found[job.id] = _Named(job, _made(job, split[1]), in_doubt=job.id in open_jobs)
        else:
            missing.append(name)
    if missing:
        raise UsageError(f"not in doubt in this ledger: {', '.join(missing)}; {UNCHANGED}")
    return list(found.values())


def _split(name: str, ids: Iterable[str | None]) -> tuple[str, str] | None:
    """`ID=DELIVERY_ID` in its parts, of which either may hold a `=`."""
    fitting = [one for one in ids if one is not None and name.startswith(f"{one}=") and len(name) > len(one) + 1]
    if not fitting:
        return None
    longest = max(fitting, key=len)
    return longest, name[len(longest) + 1 :]


def _made(job: DoubtfulJob, text: str) -> tuple[tuple[str, Any], ...]:
    if job.kind in SEND_KINDS:
        return (("delivery_id", text),)
    if job.kind == "broadcast" and text.isascii() and text.isdecimal():
        return (("trigger_id", int(text)),)
    raise UsageError(f"{text} is nothing that {job.id}, of kind {job.kind}, can have made: sends have a delivery id, "
                     f"broadcasts the number of a trigger; {UNCHANGED}")


async def _check(named: Sequence[_Named], status: str, ledger: Ledger, doubted: DoubtedAttempts) -> None:
    accepted = [str(one.job.id) for one in named if not one.job.resendable]
    if status == "failed" and accepted:
        raise UsageError(
            f"the API accepted {', '.join(accepted)}, only the delivery's id is not known: settle as sent; {UNCHANGED}"
        )
    results = [one.result for one in named if one.result is not None]
    if status == "failed" and results:
        raise UsageError(f"a job that failed has made nothing: name it without what stands behind `=`; {UNCHANGED}")
    taken = (await ledger.known_results(results) if results else set()) | doubted.deliveries & set(results)
    taken |= {result for result in results if results.count(result) > 1}
    if taken:
        raise UsageError(f"{', '.join(sorted(taken))} belongs to another job; {UNCHANGED}")


async def _outcomes(named: Sequence[_Named], status: str, ledger: Ledger) -> list[tuple[Outcome, DoubtfulJob]]:
    """What is recorded: nothing of a job that stands as sent, perhaps by a delivery of another attempt."""
    records = await ledger.find([one.job.key for one in named if not one.in_doubt])
    standing: Mapping[str, str] = {key: record.state for key, record in records.items()}
    problems = () if status == "sent" else (BY_HAND,)
    return [
        (one.job.outcome("sent" if status == "sent" else "failed", *problems, result=one.made,
                         finished_at=time.time()), one.job)
        for one in named if standing.get(one.job.key) != "sent"
    ]
