"""The Guard keeps the server's count under the limit too: it learns the network's spread, and a rival's share.

Requests written evenly may arrive bunched: over a wire that takes 0 to J seconds the server can see two requests J
closer than they were written. Nothing at the sender shows J but refusals, so the guard learns from 429s: while they
are few, each lesson widens the window a little, up to `MOST_SPREAD`. When they are many, or widening no longer
helps, somebody else uses the same budget: the lane then takes a smaller `share` of it and climbs back, slowly at
first. How long the API takes to answer is never looked at (docs/delivery-semantics.md, "Lanes and limits").

Pure: the caller passes loop times, in seconds.
"""

from __future__ import annotations

from typing import Final

FIRST_SPREAD: Final = 0.005
MOST_SPREAD: Final = 0.045
"""30 ms of jitter each way are held with a margin, at 95.7 % of the rate."""
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

    def refused(self, now: float) -> None:
        """A 429 came."""
        self._answered += 1
        self._refused += 1
        self._last_refusal = now
        if now - self._lesson_at >= self._window:  # what was paced before the last lesson teaches nothing new
            self._learn(now)

    def accepted(self, now: float) -> None:
        """Any other answer came."""
        self._answered += 1
        self._relax(now)

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
