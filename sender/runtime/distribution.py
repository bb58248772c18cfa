"""A Distribution counts values in few buckets: percentiles of any number of values in bounded memory. Pure.

Below `EXACT` values are kept to a tenth, as outcome logs write milliseconds; above it to 1 %.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

EXACT: Final = 100.0
MOST: Final = 1e9
_GROWTH: Final = math.log(1.01)
_FIRST: Final = round(EXACT * 10)


class Distribution:
    """How often which value was seen; values are 0 or more, and those above `MOST` count as `MOST`."""

    __slots__ = ("_counts", "most", "total")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.total = 0
        self.most = 0.0
        """The largest value, exactly."""

    def add(self, value: float, count: int = 1) -> None:
        """Count a value."""
        value = min(MOST, max(0.0, value))
        self._counts[_bucket(value)] += count
        self.total += count
        self.most = max(self.most, value)

    def merge(self, other: Distribution) -> None:
        """Count all that the other one counted."""
        self._counts.update(other._counts)
        self.total += other.total
        self.most = max(self.most, other.most)

    def percentile(self, percent: float) -> float | None:
        """The least value that `percent` of 100 do not exceed; None when there is none."""
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: Sequence[float]) -> list[float | None]:
        """Several at once, in ascending order."""
        if not self.total:
            return [None] * len(percents)
        found: list[float | None] = []
        counts = iter(sorted(self._counts.items()))
        passed, bucket = 0, 0
        for percent in percents:
            needed = max(1, math.ceil(self.total * percent / 100 - 1e-9))
            while passed < needed:
                bucket, count = next(counts)
                passed += count
            found.append(min(self.most, _value(bucket)))
        return found


def _bucket(value: float) -> int:
    if value < EXACT:
        return round(value * 10)
    return _FIRST + math.ceil(math.log(value / EXACT) / _GROWTH - 1e-9)


def _value(bucket: int) -> float:
    """The largest value of a bucket."""
    return bucket / 10 if bucket <= _FIRST else EXACT * math.exp((bucket - _FIRST) * _GROWTH)
