"""What a lane needs of its pacer, and what every pacer counts."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.permit import Permit
    from sender.jobs.kinds import LaneName

UNLIMITED: Final = 1 << 40

Demand = tuple[int, int, int]
"""Jobs that could start now: high, normal, low."""


def window_of(rate: float) -> tuple[int, float]:
    """(requests, seconds) for a rate per second: below 1 it means one request in any 1/rate seconds."""
    if rate == math.inf:
        return UNLIMITED, 1.0
    if rate >= 1:
        return math.floor(rate), 1.0
    return 1, 1.0 / rate


class Caution(Protocol):
    """How far under its limit a lane stays; a `Guard` tells it."""

    @property
    def spread(self) -> float:
        """Seconds added to the window."""

    @property
    def share(self) -> float:
        """Part of the limit that is used."""


class Pace(Protocol):
    """`Pacer` for a run alone, `SharedPacer` in `shared_state` for replicas; instants are loop times, in seconds."""

    requests: int
    most_in_window: int
    first_written: float | None
    last_written: float | None

    @property
    def rate(self) -> float:
        """Requests per second that the limit allows, to all replicas together."""

    @property
    def window(self) -> float:
        """The window's length in seconds."""

    @property
    def paused(self) -> bool:
        """Whether an operator paused the lane, as far as is known."""

    @property
    def paused_until(self) -> float:
        """Instant until which the API let the lane wait; in the past when it does not."""

    def set_rate(self, rate: float) -> None:
        """Change the limit from now on; what was granted under the old one still counts."""

    async def pause(self) -> None:
        """Start nothing until `resume`, on an operator's word."""

    async def resume(self) -> None:
        """End a `pause`."""

    def pause_until(self, instant: float) -> None:
        """Let nothing start before this instant; a later pause wins."""

    def rest(self) -> None:
        """There is nothing to start: the time until the next permit is idle, and is not made up."""

    def next_at(self, now: float) -> float:
        """Earliest instant of the next permit as far as is known now; infinite while it hangs on an unwritten one."""

    async def acquire(self) -> Permit:
        """Wait for the next request's instant and take it; a cancelled wait has taken nothing."""

    async def acquire_urgent(self, *, though_paused: bool = False) -> Permit:
        """The same past those who wait, and past `paused_until`: it waits for the limit and for `resume` alone, or for
        the limit alone."""

    async def look(self) -> None:
        """Learn whether another replica's operator paused the lane; returns at once where nobody can tell."""


class PacerFactory(Protocol):
    """Makes one pacer for each lane of a workspace: `LocalPacers`, or the `SharedState` of replicas."""

    def pacer(
        self, lane: LaneName, rate: float, *, guard: Guard | None, demand: Callable[[], Demand], joins: bool
    ) -> Pace:
        """The lane's pacer; who `joins` others takes their rate instead of its own."""


class WriteCounter:
    """Counts what was written under a limit."""

    def __init__(self) -> None:
        self.requests = 0
        self.most_in_window = 0
        """Most requests of this process in any window."""
        self.first_written: float | None = None
        self.last_written: float | None = None
        self._latest: deque[float] = deque()

    def count_written(self, now: float, window: float) -> None:
        """A write has returned just now."""
        self.requests += 1
        self.first_written = now if self.first_written is None else self.first_written
        self.last_written = now
        self._latest.append(now)
        while self._latest[0] <= now - window:
            self._latest.popleft()
        self.most_in_window = max(self.most_in_window, len(self._latest))
