"""The Settler closes what is in doubt in a ledger, as far as the API's lists allow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sender.doubts.doubtful_job import Claimant
from sender.engine.job_execution import result_of
from sender.ledger import Entry
from sender.outcomes.recorder import Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from sender.doubts.reconciler import Reconciler, Ruling
    from sender.engine.lane_context import Put
    from sender.engine.trigger_follower import Triggers
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome


@dataclass(slots=True)
class Settlement:
    """What came of it."""

    settled: list[Outcome] = field(default_factory=list)
    still_open: list[tuple[Claimant, str]] = field(default_factory=list)
    """Jobs that stay in doubt, and why."""
    absent: list[str] = field(default_factory=list)
    """Keys of jobs that surely were not accepted and that the caller sends again."""

    def counts(self) -> dict[str, int]:
        """Settled jobs by their new status."""
        return dict(Counter(outcome.status for outcome in self.settled))

    def reasons(self) -> dict[str, int]:
        """Jobs that stay in doubt, by reason."""
        return dict(Counter(why for _, why in self.still_open))


class Settler:
    """Reads the doubts of a ledger, has them ruled on, and records what changed."""

    def __init__(
        self, reconciler: Reconciler, ledger: Ledger, record: Put, triggers: Triggers, wall: Callable[[], float]
    ) -> None:
        self._reconciler = reconciler
        self._ledger = ledger
        self._record = record
        self._triggers = triggers
        self._wall = wall

    async def claimants(self) -> list[Claimant]:
        """All jobs in doubt."""
        now = self._wall()
        return [Claimant.of(doubt, now) async for doubt in self._ledger.doubts()]

    async def settle(self, again: Container[str] = ()) -> Settlement:
        """Settle what can be settled; absent jobs whose key is in `again` are left to the caller."""
        settlement = Settlement()
        for ruling in await self._reconciler.rule(await self.claimants()):
            one = ruling.claimant
            if ruling.fate == "open":
                settlement.still_open.append((one, ruling.why))
            elif ruling.fate == "absent" and one.key in again:
                settlement.absent.append(one.key)
            else:
                settlement.settled.append(self._close(ruling))
        return settlement

    def _close(self, ruling: Ruling) -> Outcome:
        outcome = ruling.outcome(self._wall())
        one = ruling.claimant
        if one.kind == "broadcast":
            self._triggers.settled(one.key, dict(ruling.result).get("trigger_id"))
        self._record(Ended(outcome, settled(one, outcome), later=True))
        return outcome


def settled(one: Claimant, outcome: Outcome) -> Entry:
    """The ledger's entry for a job that is in doubt no more."""
    if outcome.status not in ("sent", "rejected", "failed"):
        raise ValueError(f"{outcome.status} settles nothing")
    result = result_of(one.path, dict(outcome.result))
    return Entry(one.key, one.content, outcome.status, outcome.to_line(), result=result)
