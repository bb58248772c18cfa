"""The History of a run: a point for each second of late, so that a page that is opened later shows what was before."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sender.runtime.live.figures import Figures

MOST: Final = 600
"""Points: ten minutes."""


class Point(NamedTuple):
    """One second of the lane with the most requests."""

    at: float
    """Unix seconds."""
    rate: float
    """Requests a second that were written."""
    limit: float | None
    p50: float | None
    """Milliseconds."""
    p99: float | None


class History:
    """Takes note of figures as they come."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=MOST)
        self._before: tuple[str, float, int] | None = None
        """Lane, unix time and requests of the last look."""

    def add(self, figures: Figures, now: float) -> Point | None:
        """The point that ends now (unix seconds); None at the first look, and where the lane is another one."""
        lanes = figures.lanes
        lane = figures.main_lane
        if lane is None:
            return None
        requests = sum(one.requests for one in lanes if one.name == lane.name)
        before, self._before = self._before, (lane.name, now, requests)
        if before is None or before[0] != lane.name or now <= before[1] or requests < before[2]:
            return None
        limits = [one.limit for one in lanes if one.name == lane.name]
        limit = None if None in limits else sum(one for one in limits if one is not None)
        latency = figures.latency
        point = Point(
            round(now, 2), round((requests - before[2]) / (now - before[1]), 1), limit,
            None if latency is None else latency.p50, None if latency is None else latency.p99,
        )
        self.points.append(point)
        return point
