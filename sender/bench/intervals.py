"""How far a figure of a sample may be from the truth: bounds at 95 %, ratios of repeated measurements at 99 %. Pure.

Bounds of a percentile are order statistics, those of a share are Wilson's; both take requests as independent, which
those of one stall are not: that is why a rate has to hold in several trials, and a difference in several repeats.
"""

from __future__ import annotations

import math
from statistics import fmean, variance
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.runtime.histogram import Histogram

Z: Final = 1.645
"""Of the normal distribution, 95 % below it."""
T99: Final = (
    63.66, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947, 2.921,
    2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750,
)
"""Student's t for 99 % on both sides, for 1, 2, … degrees of freedom."""
ENOUGH: Final = 3
"""Repeats on each side, without which no difference can be told from chance."""


def percentile_bounds(histogram: Histogram, percent: float) -> tuple[float, float]:
    """(lower, upper) bound of a percentile; 0 and infinity where there are too few values to have one."""
    count, share = histogram.count, percent / 100
    spread = Z * math.sqrt(count * share * (1 - share))
    least, most = math.floor(count * share - spread), math.ceil(count * share + spread) + 1
    lower = histogram.percentile(100 * least / count) if least >= 1 else 0.0
    upper = histogram.percentile(100 * most / count) if 0 < most <= count else math.inf
    return lower or 0.0, math.inf if upper is None else upper


def share_bounds(hits: int, count: int) -> tuple[float, float]:
    """(lower, upper) bound of the part that `hits` of `count` stand for."""
    if not count:
        return 0.0, 1.0
    share, square = hits / count, Z * Z
    middle = share + square / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    whole = 1 + square / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def requests_for(share: float) -> int:
    """Requests without any error that show their part to be below this share."""
    return math.ceil(Z * Z * (1 - share) / share) if 0 < share < 1 else 1


def requests_beyond(percent: float) -> int:
    """Requests that give a percentile an upper bound."""
    beyond = 1 - percent / 100
    if not 0 < beyond < 1:
        return 1
    spread = Z * math.sqrt(beyond * (1 - beyond))
    return math.ceil(((spread + math.sqrt(spread * spread + 8 * beyond)) / (2 * beyond)) ** 2)


def ratio_bounds(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Between what the ratio after/before of two repeated measurements lies, by Welch on logarithms; None for few."""
    if min(before, default=0) <= 0 or min(after, default=0) <= 0:
        return None
    found = difference_bounds([math.log(value) for value in before], [math.log(value) for value in after])
    return None if found is None else (math.exp(found[0]), math.exp(found[1]))


def difference_bounds(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Between what the difference after - before of two repeated measurements lies; None for too few repeats."""
    if min(len(before), len(after)) < ENOUGH:
        return None
    difference = fmean(after) - fmean(before)
    parts = [variance(values) / len(values) for values in (before, after)]
    if not sum(parts):
        return difference, difference
    weights = (part * part / (len(values) - 1) for part, values in zip(parts, (before, after), strict=True))
    freedom = int(sum(parts) ** 2 / sum(weights))
    spread = T99[min(freedom, len(T99)) - 1] * math.sqrt(sum(parts))
    return difference - spread, difference + spread
