"""The LaneCapacity of a workspace: how many jobs may wait in its lanes, and which of them go back to their queues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sender.consume.in_flight import InFlight
    from sender.engine.lane import Lane
    from sender.engine.workspace import Workspace
    from sender.jobs.job import Priority
    from sender.jobs.kinds import LaneName

MOST_WAITING: Final = 200
"""Jobs of one priority that wait in one lane; what comes above that is requeued."""
LEAST_WAITING: Final = 4
SOON: Final = 2.0
"""Seconds of a lane's rate that may wait in it: a slow lane holds few messages, and the others have the places."""
PAUSE: Final = 1.0
"""Seconds of a pause for which a lane counts as blocked."""
PRIORITIES: Final = ("high", "normal", "low")


class LaneCapacity:
    """Looks at the lanes whenever it is asked."""

    def __init__(self, workspace: Workspace, in_flight: InFlight, prefetch: int) -> None:
        self._workspace = workspace
        self._in_flight = in_flight
        self._prefetch = prefetch

    def places(self, name: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs; each priority has its own."""
        lane = self._workspace.lanes[name]
        ranks = lane.queue.startable
        others, most = lane.waiting - sum(ranks), self._most_waiting(lane)
        return max(0, most - ranks[PRIORITIES.index(priority)] - others), most

    def not_soon(self) -> list[str]:
        """Identities of jobs that will not start soon: their kind is refused, or their lane is blocked."""
        return self._in_flight.left() + [key for lane in self._workspace.lanes.values() for key in self._excess(lane)]

    def _most_waiting(self, lane: Lane) -> int:
        """A lane that is blocked leaves half of the messages in hand to the others."""
        most = min(MOST_WAITING, max(LEAST_WAITING, round(lane.pacer.rate * SOON)))
        now = asyncio.get_running_loop().time()
        blocked = lane.breaker.state != "closed" or lane.pacer.paused_until > now + PAUSE
        return min(most, max(1, self._prefetch // 2)) if blocked else most

    def _excess(self, lane: Lane) -> list[str]:
        """Jobs above what a lane with an open breaker may hold, the latest of them."""
        number = lane.waiting - self._most_waiting(lane) if lane.breaker.state != "closed" else 0
        return self._in_flight.in_lane(lane.name)[:number] if number > 0 else []
