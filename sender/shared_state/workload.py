"""The Workload of a replica in a lane: whether it has more jobs than it gets permits, and how many it uses. Pure."""

from __future__ import annotations

import math
from typing import Final

PAUSE: Final = 0.1
"""Seconds without a job that do not count: the next ones are on their way."""
LONG: Final = 5.0
"""Seconds of more jobs than permits after which it is taken for lasting: to divide a lane costs a quarter of one."""
IDLE: Final = 1.0
"""Seconds without a job after which a replica needs no part."""
MORE: Final = 1.25
"""What is wished for, as a part of what was used."""
NEARLY: Final = 0.9
ENOUGH: Final = 1.0
"""Seconds that are measured at least."""


class Workload:
    """Instants are loop times, in seconds."""

    def __init__(self) -> None:
        self.busy_since = math.inf
        """Since when there was always a job that waited."""
        self.used = 0
        """Permits since `begin`."""
        self._rest_at = -math.inf
        self._begun = -math.inf
        self._wish = 0

    @property
    def resting(self) -> bool:
        """Whether no job waits."""
        return self._rest_at < math.inf

    def want(self, now: float) -> bool:
        """A job waits for its permit; whether none did before."""
        rested = self.resting
        if rested and now - self._rest_at > PAUSE:
            self.busy_since = now
        self._rest_at = math.inf
        return rested

    def rest(self, now: float) -> bool:
        """No job waits; whether one did before."""
        wanted = not self.resting
        self._rest_at = min(self._rest_at, now)
        return wanted

    def begin(self, now: float) -> None:
        """Count anew, with what is held from now on."""
        self.used, self._begun = 0, now

    @property
    def idle_at(self) -> float:
        """When this replica needs no part any more, if no job comes."""
        return self._rest_at + IDLE

    def wish(self, now: float, limit: int, waiting: int, *, joined: bool, holds: int) -> int:
        """How many requests in a second it could use: 0 for none, the limit for as many as there are.

        It has `joined` those who hold parts, and holds so much; `waiting` are its jobs.
        """
        if now >= self.idle_at:
            self._wish = 0
        elif holds and now - self._begun >= ENOUGH:
            self._wish = min(limit, self._measured(now, limit, holds))
        elif not holds and not joined and not self.resting and now - self.busy_since >= LONG:
            self._wish = limit
        elif not holds or not self._wish:
            self._wish = min(limit, max(1, waiting, self._wish if joined else 0))
        return self._wish

    def _measured(self, now: float, limit: int, holds: int) -> int:
        seconds, used = now - self._begun, self.used
        was_busy = not self.resting and self.busy_since <= self._begun
        self.begin(now)
        return limit if was_busy or used >= NEARLY * holds * seconds else math.ceil(MORE * used / seconds) + 1
