"""One run of `sender reconcile`: settle the doubts of a ledger by reading the API, or one by hand."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import orjson

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.doubts import Doubts, carry
from sender.doubts.resolver import settled
from sender.engine.preflight import look_ahead
from sender.engine.workspace import Workspace
from sender.errors import UsageError
from sender.jobs.masking import mask_credentials
from sender.jobs.problem import Problem
from sender.ledger.sqlite_ledger import Api, SqliteLedger
from sender.outcomes.outcome_log import OutcomeLog
from sender.outcomes.recorder import FinishedJob, Recorder
from sender.session.stores import host_of, open_shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.ledger import Ledger
    from sender.ledger.sqlite_ledger import Durability
    from sender.outcomes.outcome import Outcome
    from sender.send.send_plan import SendPlan
    from sender.shared_state.shared_state import SharedState

BY_HAND = Problem("settled_by_hand", None, "closed by sender reconcile --settle failed; a later run tries it anew")


async def reconcile(plan: SendPlan) -> int:
    """Read the API for every job in doubt; 0 when none is left."""
    if plan.api_key is None:
        raise ValueError("reading the API needs a key")
    async with AsyncExitStack() as stack:
        state = await _open_state(plan, stack)
        workspace = Workspace(plan.base_url, plan.api_key, plan.settings, time.time, state=state, joins=True)
        stack.push_async_callback(workspace.transport.aclose)
        seen = await look_ahead(workspace.reader.get, plan.base_url)
        workspace.reader.readable = seen.readable
        ledger = await _open_ledger(plan, Api(host_of(plan.base_url)), stack) if state is None else state.ledger
        recorder = await _open_recorder(plan, ledger, stack)
        if seen.workspace is not None:
            await ledger.bind_workspace(seen.workspace)
        await workspace.open_triggers(ledger, recorder.put)
        doubts = Doubts(workspace, ledger, recorder, plan.settings)
        await doubts.open()
        await doubts.settle()
        await recorder.drain()
        settlement = doubts.settlement
        why = {doubtful.key: reason for doubtful, reason in settlement.still_open}
        return await _tell(plan, ledger, settlement.settled, why)


async def settle_by_hand(plan: SendPlan, status: str, ids: Sequence[str]) -> int:
    """Close these jobs as somebody found them; UsageError, and nothing changed, when one is not in doubt."""
    async with AsyncExitStack() as stack:
        state = await _open_state(plan, stack)
        ledger = await _open_ledger(plan, None, stack) if state is None else state.ledger
        recorder = await _open_recorder(plan, ledger, stack)
        await carry(ledger, 0.0)
        await recorder.replay()
        found = {one.id: one for one in await _claimants(ledger) if one.id in ids}
        _check(found, status, ids)
        outcomes = []
        for one in found.values():
            problems = () if status == "sent" else (BY_HAND,)
            outcome = one.outcome("sent" if status == "sent" else "failed", *problems, finished_at=time.time())
            recorder.put(FinishedJob(outcome, settled(one, outcome), later=True))
            outcomes.append(outcome)
        await recorder.drain()
        return await _tell(plan, ledger, outcomes, {})


async def _open_state(plan: SendPlan, stack: AsyncExitStack) -> SharedState | None:
    if not plan.state:
        return None
    # The next call tells of a loss.
    return await open_shared(plan.state, plan.base_url, plan.settings, stack, on_lost=lambda _: None)


async def _open_ledger(plan: SendPlan, api: Api | None, stack: AsyncExitStack) -> SqliteLedger:
    if not plan.ledger.exists():
        raise UsageError(f"there is no ledger {plan.ledger}: name the INPUT that was sent, or its --ledger")
    ledger = await SqliteLedger.open(plan.ledger, api, durability=cast("Durability", plan.settings.durability))
    stack.push_async_callback(ledger.close)
    return ledger


async def _open_recorder(plan: SendPlan, ledger: Ledger, stack: AsyncExitStack) -> Recorder:
    outcome_log = OutcomeLog.open(plan.outcomes)
    stack.callback(outcome_log.close)
    recorder = Recorder(ledger, outcome_log, lambda _: None)
    await recorder.replay()
    recording = asyncio.create_task(recorder.run(), name="recorder")
    stack.callback(recording.cancel)
    return recorder


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


async def _tell(plan: SendPlan, ledger: Ledger, changed: Sequence[Outcome], why: dict[str, str]) -> int:
    left = await _claimants(ledger)
    jobs: list[dict[str, Any]] = [
        {"id": outcome.id, "status": outcome.status, **dict(outcome.result)} for outcome in changed
    ]
    jobs += [{"id": one.id, "status": "in_doubt", **_because(why.get(one.key))} for one in left]
    document = {"settled": len(changed), "in_doubt": len(left), "jobs": jobs,
                "outcomes": str(plan.outcomes), "ledger": mask_credentials(plan.state) or str(plan.ledger)}
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
