"""The PrefetchPolicy of a reader: how many messages to read now, so that few have to be parked. Pure.

It remembers which lanes its queue's messages went to, and reads what these have room for, in batches that are not too
small. Messages for other lanes may stand behind those of full ones, so now and then a few are probed though no known
lane has room; those that turn out to be for full lanes are parked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName

MOST_AT_ONCE: Final = 50
PROBE: Final = 20
"""Messages that are probed while the known lanes are full."""
PROBE_EVERY: Final = 1.0
"""Seconds between two probes."""
FORGET_AFTER: Final = 60.0
"""Seconds after which a lane that no message went to is not known any more."""
PARTS: Final = 4
"""One in so many places must be free before a batch is read: one look into the ledger serves the whole batch."""


class Capacity(Protocol):
    """What a workspace tells of its lanes."""

    def places(self, lane: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs."""


class PrefetchPolicy:
    """Of one queue."""

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._known: dict[tuple[Capacity, LaneName, Priority], float] = {}
        self._probed_at = float("-inf")

    def saw(self, workspace: Capacity, job: Job, now: float) -> None:
        """A message's job goes to this workspace."""
        self._known[workspace, job.kind.lane, job.priority] = now

    def most(self, in_hand: int, now: float) -> int:
        """Messages to read at the loop time `now`, with so many in hand that are not parked; 0 means wait."""
        room = self._prefetch - in_hand
        self._known = {where: at for where, at in self._known.items() if now - at < FORGET_AFTER}
        places = [one.places(lane, priority) for one, lane, priority in self._known]
        free, most = sum(free for free, _ in places), sum(most for _, most in places)
        if not most:  # no lane is known yet, or none of a workspace that works
            self._probed_at = now
            return max(0, min(room, MOST_AT_ONCE))
        wanted = min(room, free, MOST_AT_ONCE)
        if wanted >= max(1, min(self._prefetch, most, MOST_AT_ONCE * PARTS) // PARTS):
            self._probed_at = now
            return wanted
        if not in_hand and free:
            return wanted
        if now - self._probed_at >= PROBE_EVERY and room > 0:
            self._probed_at = now
            return min(room, free or PROBE)
        return 0
