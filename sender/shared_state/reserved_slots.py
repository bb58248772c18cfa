"""The ReservedSlots of one replica in a lane: which it may still use, and how many more it needs.

Pure but for what it remembers: the caller passes loop times, in seconds.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from sender.engine.pacing.pace import window_of
from sender.shared_state.server_clock import DRIFT, ServerClock

if TYPE_CHECKING:
    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Demand
    from sender.shared_state.state_server import Grant

WIDER: Final = 0.006
"""Seconds by which a window's worth of slots is wider than the window: 0.6 % of a rate per second."""
SPARE: Final = 0.0005
FAR: Final = 0.6
"""Seconds that a slot lies ahead at most when it is reserved (`reserve.lua`, `reserve` of PostgreSQL)."""
LEAST_LATE: Final = 0.0015
ASK_AHEAD: Final = 0.1
"""Seconds before the end of what is reserved at which more is asked for."""
LOOK_AGAIN: Final = 0.9
"""Seconds after which a lane that must wait asks again, so that it hears of a resume or a rate in time."""
LONGEST_TRIP: Final = 0.05
GATHER: Final = 0.05
"""Seconds after its slot within which a late write is told: several go with one question. The line must have moved on
before it gives the slot a window later, which it does `FAR` ahead."""


class ReservedSlots:
    """Slots as loop times, what the server told with them, and how much of the line writes that came late owe."""

    def __init__(self, rate: float, guard: Guard | None) -> None:
        self.limit, self.window = window_of(rate)
        self.paused = False
        """Whether an operator paused the lane."""
        self.not_before = -math.inf
        self.ask_at = -math.inf
        """Loop time before which asking makes no sense."""
        self.given_up = 0
        """Slots that were reached too late."""
        self.owed = 0.0
        """Seconds by which the line has to move on for writes that came late."""
        self._owed_at = math.inf
        """Loop time by which that is to be told."""
        self.trip = 0.002
        """Seconds that an answer takes."""
        self.clock = ServerClock()
        self._guard = guard
        self._slots: deque[float] = deque()
        self._step = 0.0
        self._error = 0.0
        """By how much the instants of the slots in hand may be wrong, when they were granted."""
        self._slowest = 0.0
        """Seconds that the last answer took."""
        self._high_refused = False

    @property
    def late(self) -> float:
        """Seconds after its instant up to which a write is in its slot."""
        return self._late_with(self._error)

    def widen(self, now: float) -> float:
        """Seconds by which the window has to be widened for slots that are asked for now."""
        spread = self._guard.spread if self._guard else 0.0
        self._error = max(self._error if self._slots else 0.0, self._error_of_grant(now))
        return max(WIDER, self._late_with(self._error) + 2 * self._error + SPARE + self._slewed) + spread

    @property
    def _slewed(self) -> float:
        """Seconds by which the server's clock may part from two replicas' while slots are ahead and a window passes."""
        return DRIFT * (self.window + 2 * FAR)

    def _late_with(self, error: float) -> float:
        return max(LEAST_LATE, WIDER - SPARE - self._slewed - 2 * error)

    def _error_of_grant(self, now: float) -> float:
        return min(1.0, self.clock.error_at(now + max(self.trip, self._slowest)))

    @property
    def share(self) -> float:
        """Part of the limit that may be used."""
        return self._guard.share if self._guard else 1.0

    def first(self, now: float) -> float | None:
        """The next slot that can be used; those that cannot are given up."""
        if self.paused:
            self.drop()
        good = self.late + min(self._step, 0.3 * self.window)  # up to a slot too late it is cheaper to compensate
        while self._slots and (self._slots[0] + good < now or self._slots[0] < self.not_before):
            self._slots.popleft()
            self.given_up += 1
        return self._slots[0] if self._slots else None

    def take(self) -> float:
        """Use the first slot."""
        return self._slots.popleft()

    def drop(self) -> None:
        """Forget what is reserved."""
        self._slots.clear()

    def enough(self, now: float) -> bool:
        """Whether no slots need be asked for, whatever is wanted."""
        return bool(self._slots) and self._slots[-1] > now + ASK_AHEAD + self.trip

    def missing(self, wanted: Demand) -> Demand | None:
        """For how many of the jobs wanted there is no slot yet; None when there is nothing to say to the server."""
        left, covered = list(wanted), len(self._slots)
        for rank, number in enumerate(wanted):
            left[rank] = max(0, number - covered)
            covered = max(0, covered - number)
        return (left[0], left[1], left[2]) if any(left) or self.owed else None

    def ask_from(self, wants: Demand) -> float:
        """Loop time from which to ask for these: at once for a high job that was not refused yet."""
        if wants[0] and not self._high_refused:
            return -math.inf
        return min(self.ask_at, self._owed_at) if any(wants) else self._owed_at

    def owe(self, seconds: float, now: float) -> None:
        """A write came so much later than its slot: the line moves on for it, by no more than a slot."""
        owed = min(max(0.0, seconds - self.late), self._step)
        if owed:
            self.owed += owed
            self._owed_at = min(self._owed_at, now + max(0.0, GATHER - seconds))

    def tell_owed(self) -> float:
        """What is owed, and owed no more."""
        owed, self.owed, self._owed_at = self.owed, 0.0, math.inf
        return owed

    def compensate(self, owed: float) -> None:
        """What cannot be said to the server is made good with slots that are reserved already; the rest is owed."""
        while owed > 0 and self._slots:
            self._slots.pop()
            owed -= self._step
        if owed > 0:
            self.owed += owed
            self._owed_at = -math.inf

    def learn(self, sent: float, received: float, wants: Demand, grant: Grant) -> bool:
        """Take what was granted; False when it cannot be placed on the loop's clock."""
        self.trip = min(LONGEST_TRIP, 0.8 * self.trip + 0.2 * (received - sent))
        self.paused = bool(grant.paused)
        self.limit, self.window, self._step = int(grant.limit), grant.window / 1e6, grant.step / 1e6
        self._slowest = received - sent
        if not self.clock.learn(sent, received, grant.now / 1e6):
            self.drop()
            return False
        if grant.paused_until > grant.now:
            self.not_before = max(self.not_before, self.clock.to_loop(grant.paused_until / 1e6))
        placed = self.clock.error <= self._error + SPARE / 2  # else the window was not widened for such a slow answer
        count = int(grant.granted) if placed else 0
        self._slots.extend(self.clock.to_loop((grant.first + n * grant.step) / 1e6) for n in range(count))
        self._high_refused = wants[0] > count
        self.ask_at = -math.inf
        if count < sum(wants):
            wait = min(LOOK_AGAIN, (grant.ask_again - grant.now) / 1e6)
            self.ask_at = received + max(0.005, min(wait, self._lasts(received)) if count else wait)
        return True

    def _lasts(self, now: float) -> float:
        """Seconds until what is reserved runs low."""
        return max(0.0, self._slots[-1] - ASK_AHEAD - self.trip - now) if self._slots else 0.0
