"""The DoubtResolver ends what is in doubt in a ledger, as far as the API's lists allow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.resolution import Resolution, final_record
from sender.outcomes.recorder import FinishedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from sender.doubts.doubted_attempts import DoubtedAttempts
    from sender.doubts.reconciler import Reconciler
    from sender.engine.api_clock import ApiClock
    from sender.engine.lane_context import RecordFn
    from sender.ledger.ledger import Ledger
    from sender.outcomes.outcome import Outcome


@dataclass(slots=True)
class Resolved:
    """What one pass over the jobs in doubt came to."""

    ended: list[Outcome] = field(default_factory=list)
    """Jobs that are in doubt no more."""
    still_open: list[Resolution] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Keys of jobs that surely were not accepted and that the caller sends again."""

    def counts(self) -> dict[str, int]:
        """The jobs that are in doubt no more, by their new status."""
        return dict(Counter(outcome.status for outcome in self.ended))

    def reasons(self) -> dict[str, int]:
        """Jobs that stay in doubt, by reason."""
        return dict(Counter(resolution.why for resolution in self.still_open))


class DoubtResolver:
    """Reads the doubts of a ledger, has them looked up, and records what changed."""

    def __init__(
        self, ledger: Ledger, doubted: DoubtedAttempts, record: RecordFn, clock: ApiClock,
        on_trigger: Callable[[str, int | None], None],
    ) -> None:
        self._ledger = ledger
        self._doubted = doubted
        self._record = record
        self._clock = clock
        self._on_trigger = on_trigger
        """Told of each broadcast that is in doubt no more: its key, and its trigger if there is one."""

    async def doubtful_jobs(self) -> list[DoubtfulJob]:
        """All jobs in doubt; from now on each counts among the attempts that were."""
        found = [DoubtfulJob.of(doubt, self._clock) async for doubt in self._ledger.doubts()]
        await self._doubted.take_up(found)
        return found

    async def resolve(self, reconciler: Reconciler, again: Container[str] = ()) -> Resolved:
        """End what can be ended; absent jobs whose key is in `again` are left to the caller."""
        resolved = Resolved()
        made: dict[str, str] = {}
        for resolution in await reconciler.resolve(await self.doubtful_jobs()):
            one = resolution.doubtful
            if resolution.fate == "open":
                resolved.still_open.append(resolution)
            elif resolution.fate == "absent" and one.key in again:
                resolved.absent.append(one.key)
            else:
                outcome = resolution.outcome(self._clock.wall())
                record = final_record(one, outcome)
                made |= {} if record.result is None else {one.key: record.result}
                resolved.ended.append(outcome)
                if one.kind == "broadcast":
                    self._on_trigger(one.key, dict(resolution.result).get("trigger_id"))
                self._record(FinishedJob(outcome, record, later=True))
        await self._doubted.bind(made)
        return resolved
