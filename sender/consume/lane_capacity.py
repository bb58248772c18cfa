"""The LaneCapacity of a workspace: how many jobs its lanes can start soon; what comes above that is parked in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.engine.lane import Lane
    from sender.engine.workspace import Workspace
    from sender.jobs.job import Priority
    from sender.jobs.kinds import LaneName

MOST_WAITING: Final = 200
"""Jobs of one priority that wait in one lane to be started soon."""
LEAST_WAITING: Final = 4
SOON: Final = 2.0
"""Seconds of a lane's rate that start soon: what a slow lane cannot start takes no place from the others."""
PAUSE: Final = 1.0
"""Seconds of a pause for which a lane counts as blocked."""
PRIORITIES: Final = ("high", "normal", "low")


class LaneCapacity:
    """Looks at the lanes whenever it is asked."""

    def __init__(self, workspace: Workspace, prefetch: int) -> None:
        self._workspace = workspace
        self._prefetch = prefetch

    def places(self, name: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs; each priority has its own."""
        lane = self._workspace.lanes[name]
        ranks = lane.queue.startable
        others, most = lane.waiting - sum(ranks), self._most_waiting(lane)
        return max(0, most - ranks[PRIORITIES.index(priority)] - others), most

    def excess(self) -> Iterator[tuple[LaneName, int]]:
        """Lanes that were blocked with more jobs than they may keep places for, and how many more."""
        for name, lane in self._workspace.lanes.items():
            number = lane.waiting - self._most_waiting(lane) if _is_blocked(lane) else 0
            if number > 0:
                yield name, number

    def _most_waiting(self, lane: Lane) -> int:
        """A lane that is blocked leaves half of the messages in hand to the others."""
        most = min(MOST_WAITING, max(LEAST_WAITING, round(lane.pacer.rate * SOON)))
        return min(most, max(1, self._prefetch // 2)) if _is_blocked(lane) else most


def _is_blocked(lane: Lane) -> bool:
    return lane.breaker.state != "closed" or lane.pacer.paused_until > asyncio.get_running_loop().time() + PAUSE
