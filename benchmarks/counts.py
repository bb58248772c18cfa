"""What the arrivals at the server say about a pacer; pure, on sorted stamps in nanoseconds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import linear_regression
from typing import TYPE_CHECKING

from sender.sandbox.arrivals import max_in_window
from sender.sandbox.limit import SECOND, Window

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Counts:
    """One run of one pacer."""

    reached: float
    """Part of the limit, by the slope of the count over time from the third second on: a first burst is no rate."""
    most: int
    """In any sliding second."""
    refused: int
    """How many a server with exactly this limit in any sliding second would have answered with 429."""
    gaps_ms: tuple[float, float, float]
    """p1, p50, p99."""


def counted(stamps: Sequence[int], limit: int) -> Counts:
    """The figures of at least two arrivals."""
    window = Window(limit, SECOND)
    refused = sum(window.admit(stamp) > 0 for stamp in stamps)
    steady = [stamp for stamp in stamps if stamp >= stamps[0] + 2 * SECOND]
    return Counts(slope(steady or stamps) / limit, max_in_window(stamps, SECOND), refused, gaps(stamps))


def most_in_second(stamps: Sequence[float]) -> int:
    """The largest number in any sliding second, of sorted stamps in seconds."""
    return max_in_window([round(stamp * SECOND) for stamp in stamps], SECOND)


def slope(stamps: Sequence[int]) -> float:
    """Arrivals per second, as the least squares of their number over their time."""
    times = [(stamp - stamps[0]) / SECOND for stamp in stamps]
    return linear_regression(times, range(len(times))).slope


def gaps(stamps: Sequence[int]) -> tuple[float, float, float]:
    """p1, p50 and p99 of the gaps, in milliseconds."""
    found = sorted((after - before) / 1e6 for before, after in itertools.pairwise(stamps))
    last = len(found) - 1
    return found[last // 100], found[last // 2], found[last * 99 // 100]
