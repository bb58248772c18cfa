"""The DoubtResolver closes what is in doubt in a ledger, as far as the API's lists allow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sender.doubts.doubtful_job import DoubtfulJob
from sender.engine.job_execution import result_of
from sender.ledger import FinalRecord
from sender.outcomes.recorder import FinishedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from sender.doubts.reconciler import Reconciler, Resolution
    from sender.engine.lane_context import RecordFn
    from sender.engine.trigger_follower import TriggerFollower
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome


@dataclass(slots=True)
class Settlement:
    """What came of it."""

    settled: list[Outcome] = field(default_factory=list)
    still_open: list[tuple[DoubtfulJob, str]] = field(default_factory=list)
    """Jobs that stay in doubt, and why."""
    absent: list[str] = field(default_factory=list)
    """Keys of jobs that surely were not accepted and that the caller sends again."""

    def counts(self) -> dict[str, int]:
        """Settled jobs by their new status."""
        return dict(Counter(outcome.status for outcome in self.settled))

    def reasons(self) -> dict[str, int]:
        """Jobs that stay in doubt, by reason."""
        return dict(Counter(why for _, why in self.still_open))


class DoubtResolver:
    """Reads the doubts of a ledger, has them ruled on, and records what changed."""

    def __init__(
        self,
        reconciler: Reconciler,
        ledger: Ledger,
        record: RecordFn,
        triggers: TriggerFollower,
        wall: Callable[[], float],
    ) -> None:
        self._reconciler = reconciler
        self._ledger = ledger
        self._record = record
        self._triggers = triggers
        self._wall = wall

    async def doubtful_jobs(self) -> list[DoubtfulJob]:
        """All jobs in doubt."""
        now = self._wall()
        return [DoubtfulJob.of(doubt, now) async for doubt in self._ledger.doubts()]

    async def settle(self, again: Container[str] = ()) -> Settlement:
        """Settle what can be settled; absent jobs whose key is in `again` are left to the caller."""
        settlement = Settlement()
        for resolution in await self._reconciler.rule(await self.doubtful_jobs()):
            one = resolution.doubtful
            if resolution.fate == "open":
                settlement.still_open.append((one, resolution.why))
            elif resolution.fate == "absent" and one.key in again:
                settlement.absent.append(one.key)
            else:
                settlement.settled.append(self._close(resolution))
        return settlement

    def _close(self, resolution: Resolution) -> Outcome:
        outcome = resolution.outcome(self._wall())
        one = resolution.doubtful
        if one.kind == "broadcast":
            self._triggers.settled(one.key, dict(resolution.result).get("trigger_id"))
        self._record(FinishedJob(outcome, settled(one, outcome), later=True))
        return outcome


def settled(one: DoubtfulJob, outcome: Outcome) -> FinalRecord:
    """The ledger's entry for a job that is in doubt no more."""
    if outcome.status not in ("sent", "rejected", "failed"):
        raise ValueError(f"{outcome.status} settles nothing")
    result = result_of(one.path, dict(outcome.result))
    return FinalRecord(one.key, one.content, outcome.status, outcome.to_line(), result=result)
