"""The Guard keeps the server's count under the limit too: it learns the network's spread, and a rival's share.

Requests written evenly may arrive bunched: over a wire that takes 0 to J seconds the server can see two requests J
closer than they were written. Nothing at the sender shows J but refusals, so the guard learns from 429s: while they
are few, each lesson widens the window a little, up to `MOST_SPREAD`. When they are many, or widening no longer
helps, somebody else uses the same budget: the lane then takes a smaller `share` of it and climbs back, slowly at
first (docs/delivery-semantics.md, "Lanes and limits").

A `careful` guard begins with the widest window, since the first refusal comes too late to teach the first second. It
narrows by half while nothing is refused, and sooner where the first answers all take the same time: a wire that keeps
them waiting alike does not bunch requests. So how long the API takes never slows a lane down.

Pure: the caller passes loop times, in seconds.
"""

from __future__ import annotations

from statistics import median
from typing import Final, Self

FIRST_SPREAD: Final = 0.005
MOST_SPREAD: Final = 0.05
"""100 ms of jitter each way: one request in 500 is refused, at 94.8 % of the rate."""
SPREAD_GROWTH: Final = 1.6
FEW: Final = 0.05
"""Part of the answers that jitter alone can turn into refusals; more than that is a rival or a lower limit."""
ENOUGH: Final = 20
"""Answers below which a ratio says nothing."""
LEAST_SHARE: Final = 0.02
LEAST_CUT: Final = 0.03
CLIMB: Final = 0.004
"""Part by which the share grows in the first quiet window."""
HASTE: Final = 5.0
"""Seconds of quiet after which it grows twice as fast, three times after twice as many, and so on: a rival that has
gone is noticed by its silence."""
FIRST_LOOK: Final = 1.2
"""Windows after the first answer until a careful guard narrows: before, a count cannot be full, and be heard of."""
NEXT_LOOK: Final = 0.6
"""Windows until it narrows again."""
FORGET_AFTER: Final = 60.0
"""Seconds without a refusal after which the spread narrows by a tenth."""


class Guard:
    """Learns from refusals how far under its limit a lane has to stay."""

    def __init__(self, window: float = 1.0) -> None:
        self._window = window
        self.spread = 0.0
        """Seconds added to the window."""
        self.share = 1.0
        """Part of the limit that is ours."""
        self._lesson_at = float("-inf")
        self._last_refusal = float("-inf")
        self._relaxed_at = float("-inf")
        self._refused = 0
        self._answered = 0
        self._trying = False
        """Whether nothing was refused yet since a careful start."""
        self._look_at = float("-inf")
        self._times: list[float] = []
        """Seconds that the first answers took."""

    @classmethod
    def careful(cls, window: float = 1.0) -> Self:
        """One that starts under the limit, and goes up to it while nothing is refused."""
        guard = cls(window)
        guard.spread, guard._trying = MOST_SPREAD, True
        return guard

    def refused(self, now: float) -> None:
        """A 429 came."""
        if self._trying:
            self._trying = False
            self.spread = min(MOST_SPREAD, 2 * self.spread)  # as wide as it was while none came
            self._lesson_at = now - self._window / 2  # what is under way was paced before
        self._answered += 1
        self._refused += 1
        self._last_refusal = now
        if now - self._lesson_at >= self._window:  # what was paced before the last lesson teaches nothing new
            self._learn(now)

    def accepted(self, now: float, took: float | None = None) -> None:
        """Any other answer came, so many seconds after its request."""
        self._answered += 1
        if self._trying:
            self._try_narrower(now, took)
        else:
            self._relax(now)

    def _try_narrower(self, now: float, took: float | None) -> None:
        if self._look_at == float("-inf"):
            self._look_at = now + FIRST_LOOK * self._window
        if took is not None and len(self._times) < ENOUGH:
            self._times.append(took)
            if len(self._times) == ENOUGH:
                self.spread = min(self.spread, 2 * (median(self._times) - min(self._times)))
        if now >= self._look_at:
            self.spread /= 2
            self._look_at = now + NEXT_LOOK * self._window
        if self.spread < FIRST_SPREAD / 2:
            self.spread, self._trying = 0.0, False

    def _learn(self, now: float) -> None:
        ratio = self._refused / self._answered if self._answered >= ENOUGH else 0.0
        if ratio <= FEW and self.spread < MOST_SPREAD:
            self.spread = min(MOST_SPREAD, max(FIRST_SPREAD, self.spread * SPREAD_GROWTH))
        else:
            self.share = max(LEAST_SHARE, self.share * (1 - min(0.5, max(LEAST_CUT, ratio))))
        self._lesson_at = now
        self._refused = self._answered = 0

    def _relax(self, now: float) -> None:
        quiet = now - max(self._last_refusal, self._relaxed_at)
        if self.share < 1.0 and quiet > self._window and now - self._last_refusal > 2 * self._window:
            growth = CLIMB * (1 + (now - self._last_refusal) / HASTE)
            self.share = min(1.0, self.share * (1 + growth))
            self._relaxed_at = now
        elif self.share == 1.0 and self.spread and quiet > FORGET_AFTER:
            self.spread = 0.0 if self.spread < FIRST_SPREAD else self.spread * 0.9
            self._relaxed_at = now
