"""A Histogram counts values in cells of equal width within each power of two. Pure, and the only one of the project.

A cell is at most 0.1 % of its values wide, or 1 % where there are many histograms. Only cells that hold a value take
memory.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

FINE: Final = 1024
"""Cells for each power of two."""
COARSE: Final = 128
_LEAST: Final = 2.0**-20
"""What is smaller, in any unit, counts in the cell of this."""
_TOP: Final = 1025
"""The largest numbers have nothing above them."""


class Histogram:
    """How many values lie in which cell, with their exact sum and the largest one."""

    __slots__ = ("_cells", "_counts", "_halves", "count", "most", "total")

    def __init__(self, cells: int = FINE) -> None:
        self._cells = cells
        self._halves = 2 * cells  # the part of a power of two is between 1/2 and 1
        self._counts: defaultdict[int, int] = defaultdict(int)
        self.count = 0
        self.total = 0.0
        """Sum of all values."""
        self.most = 0.0
        """The largest value, exactly."""

    def add(self, value: float, count: int = 1) -> None:
        """Count a value; one below 0 (no clock is perfect) counts as 0, one that is no number not at all."""
        if _LEAST <= value < math.inf:
            part, power = math.frexp(value)
        elif math.isfinite(value):
            value = max(0.0, value)
            part, power = math.frexp(_LEAST)
        else:
            return
        self._counts[power * self._cells + math.ceil(self._halves * part)] += count
        self.count += count
        self.total += value * count
        if value > self.most:
            self.most = value

    def merge(self, other: Histogram) -> None:
        """Count all that another one with the same cells counted."""
        for cell, count in other._counts.items():
            self._counts[cell] += count
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
        """(largest value that a cell may hold, number of values in it) in ascending order."""
        return [(self._bound(cell), count) for cell, count in sorted(self._counts.items())]

    def _bound(self, cell: int) -> float:
        power, place = divmod(cell, self._cells)
        return math.ldexp((self._cells + place) / self._cells, power - 2) if power < _TOP else math.inf
