"""The PrefetchPolicy of a reader: how many messages to read now, so that hardly any has to be given back. Pure.

It remembers which lanes its queue's messages went to, and reads what these have room for, in not too small bites. What
was not met for a while may come again, so now and then a bite is taken though there is no room for its like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName

MOST_AT_ONCE: Final = 50
TASTE: Final = 20
"""Messages that are read though the lanes met so far are full: others may stand behind them."""
TASTE_EVERY: Final = 1.0
FORGET_AFTER: Final = 60.0
BITE: Final = 4
"""Part of the places that must be free before more is read: one look into the memory serves a whole bite."""


class LaneCapacity(Protocol):
    """What a station tells of its lanes."""

    def places(self, lane: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs."""


class PrefetchPolicy:
    """Of one queue."""

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._met: dict[tuple[LaneCapacity, LaneName, Priority], float] = {}
        self._tasted_at = float("-inf")

    def saw(self, table: LaneCapacity, job: Job, now: float) -> None:
        """A message's job goes to this station."""
        self._met[table, job.kind.lane, job.priority] = now

    def most(self, in_hand: int, now: float) -> int:
        """Messages to read at the loop time `now`, with so many in hand; 0 means wait."""
        room = self._prefetch - in_hand
        self._met = {where: at for where, at in self._met.items() if now - at < FORGET_AFTER}
        places = [table.places(lane, priority) for table, lane, priority in self._met]
        free, most = sum(free for free, _ in places), sum(most for _, most in places)
        if not most:  # nothing met yet, or nothing of a workspace that works
            self._tasted_at = now
            return max(0, min(room, MOST_AT_ONCE))
        wanted = min(room, free, MOST_AT_ONCE)
        if wanted >= max(1, min(self._prefetch, most, MOST_AT_ONCE * BITE) // BITE):
            self._tasted_at = now
            return wanted
        if not in_hand and free:
            return wanted
        if now - self._tasted_at >= TASTE_EVERY and room > 0:
            self._tasted_at = now
            return min(room, TASTE)
        return 0
