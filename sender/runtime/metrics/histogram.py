"""A Histogram counts durations under growing bounds; pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Histogram:
    """Counts values by the least bound that holds them, in seconds."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0
        """Sum of all values."""

    def add(self, value: float) -> None:
        """Count a value; one below 0 (no clock is perfect) counts as 0, one that is no number not at all."""
        if math.isfinite(value):
            value = max(0.0, value)
            self._counts[bisect_left(self._bounds, value)] += 1
            self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """(bound, number of values up to it), as Prometheus wants them: the last one is +Inf and counts all."""
        texts = [*map(str, self._bounds), "+Inf"]
        running = 0
        found: list[tuple[str, float]] = []
        for text, count in zip(texts, self._counts, strict=True):
            running += count
            found.append((text, running))
        return found
