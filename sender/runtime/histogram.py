"""A Histogram counts values by the least bound that holds each. Pure, and the only one of the project.

Its bounds are a grid, where each is at most 0.1 % above the values that it holds, or 1 % where there are many
histograms. Only bounds that hold a value take memory.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

FINE: Final = 0.001
COARSE: Final = 0.01
_LEAST: Final = 1e-6
_MOST: Final = 1e9


@cache
def grid(error: float = FINE) -> tuple[float, ...]:
    """Bounds from a millionth to a billion, in any unit, each by the share `error` above the one before."""
    steps = math.ceil(math.log(_MOST / _LEAST) / math.log1p(error))
    return tuple(_LEAST * (1 + error) ** step for step in range(steps + 1))


class Histogram:
    """How many values lie under which bound, with their exact sum and the largest one."""

    __slots__ = ("_bounds", "_counts", "count", "most", "total")

    def __init__(self, bounds: Sequence[float] | None = None) -> None:
        self._bounds = grid() if bounds is None else bounds
        self._counts: Counter[float] = Counter()
        self.count = 0
        self.total = 0.0
        """Sum of all values."""
        self.most = 0.0
        """The largest value, exactly."""

    def add(self, value: float, count: int = 1) -> None:
        """Count a value; one below 0 (no clock is perfect) counts as 0, one that is no number not at all."""
        if not 0.0 <= value < math.inf:
            if not math.isfinite(value):
                return
            value = 0.0
        place = bisect_left(self._bounds, value)
        self._counts[self._bounds[place] if place < len(self._bounds) else math.inf] += count
        self.count += count
        self.total += value * count
        if value > self.most:
            self.most = value

    def merge(self, other: Histogram) -> None:
        """Count all that another one with the same bounds counted."""
        self._counts.update(other._counts)
        self.count += other.count
        self.total += other.total
        self.most = max(self.most, other.most)

    def percentile(self, percent: float) -> float | None:
        """The least bound, or the largest value, that `percent` of 100 do not exceed; None when there is none."""
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: Sequence[float]) -> list[float | None]:
        """Several at once, in ascending order."""
        if not self.count:
            return [None] * len(percents)
        found: list[float | None] = []
        counts = iter(self.counts())
        passed, bound = 0, 0.0
        for percent in percents:
            needed = max(1, math.ceil(self.count * percent / 100 - 1e-9))
            while passed < needed:
                bound, count = next(counts)
                passed += count
            found.append(min(self.most, bound))
        return found

    def counts(self) -> list[tuple[float, int]]:
        """(bound, number of values that no lower bound holds) in ascending order; the last bound may be infinite."""
        return sorted(self._counts.items())
