"""Orphans: jobs that a run or replica which died left handed over. They are in doubt from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.doubts.doubtful_job import DoubtfulJob
from sender.engine.waiting_triggers import WaitingTrigger
from sender.jobs.problem import Problem
from sender.ledger.ledger import FinalRecord
from sender.ledger.record_detail import with_error

if TYPE_CHECKING:
    from sender.engine.api_clock import ApiClock
    from sender.ledger.ledger import Doubt, Ledger

ALIVE: Final = "alive"
"""The note that holds the last sign of life: unix seconds by our clock."""
SIGN_OF_LIFE: Final = 1.0
"""Seconds between signs of life, which tell a later run when this one died."""
DYING: Final = 10.0


async def adopt_orphans(ledger: Ledger, clock: ApiClock) -> dict[str, WaitingTrigger | None]:
    """Put them in doubt; returns their keys, with the trigger that may wait at the API."""
    alive = float(await ledger.get_note(ALIVE) or 0) + SIGN_OF_LIFE + DYING
    orphans: dict[str, WaitingTrigger | None] = {}
    records: list[FinalRecord] = []
    async for doubt in ledger.doubts(earlier_runs_handed_over=True):
        doubt = doubt._replace(detail=orjson.dumps(_last_seen(orjson.loads(doubt.detail), alive, clock)))
        one = DoubtfulJob.of(doubt, clock)
        records.append(_record(doubt, one))
        orphans[doubt.key] = _waiting(one) if one.kind == "broadcast" else None
    if records:
        await ledger.finish(records)
    return orphans


def _last_seen(detail: dict[str, Any], alive: float, clock: ApiClock) -> dict[str, Any]:
    """The detail with the end of an attempt that nobody saw: now at the latest, likely soon after the sign of life."""
    since, until = detail.get("since") or 0.0, clock.wall()
    ahead_then, ahead_now = clock.ahead_then(detail), clock.ahead
    if ahead_then is not None and ahead_now is not None:
        until += ahead_now - ahead_then  # as the clock that told `since` would tell it
    until = max(since, until)
    return detail | {
        "until": until,
        "likely_until": min(until, max(alive, since + DYING)),
        "attempts": detail.get("attempts", 0) + 1,
    }


def _record(doubt: Doubt, one: DoubtfulJob) -> FinalRecord:
    problem = Problem("unanswered", None, "an earlier run handed the job over and left no answer")
    outcome = one.outcome("in_doubt", problem)
    detail = with_error(doubt.detail, outcome.error)
    return FinalRecord(doubt.key, doubt.content, "in_doubt", outcome.to_line(), detail=detail)


def _waiting(one: DoubtfulJob) -> WaitingTrigger:
    facts = {name: one.detail.get(name) for name in ("id", "source", "line", "attempts", "started_at", "written_at")}
    return WaitingTrigger(one.key, one.content, one.resource_id, None, one.since, facts)
