"""The rate that a counter had of late, from the moments at which somebody looked; pure."""

from __future__ import annotations

from collections import deque
from typing import Final

SPAN: Final = 10.0
"""Seconds over which a rate is reckoned where looks are frequent enough."""
MOST: Final = 64
LEAST: Final = 0.5
"""Seconds under which two looks tell no rate; they count as one."""


class RecentRate:
    """Growth per second since the newest look that is at least `SPAN` old, or since the oldest one known."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque(maxlen=MOST)
        self._last = 0.0

    def look(self, now: float, count: int) -> float:
        """Take note of the count at this loop time; the rate per second up to now, 0 at the first look."""
        if self._looks and now - self._looks[-1][0] < LEAST:
            return self._last
        self._looks.append((now, count))
        while len(self._looks) > 2 and now - self._looks[1][0] >= SPAN:
            self._looks.popleft()
        since, before = self._looks[0]
        self._last = (count - before) / (now - since) if now > since else 0.0
        return self._last
