"""The search for the highest rate that holds: which rate is tried next, and what its trials say of it. Pure.

Rates double until one does not hold, and then the gap is halved until it is narrow. A rate holds when every check holds
in each of two trials, and the bounds of its percentiles and errors, over all of its trials, are within the checks too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sender.bench.intervals import percentile_bounds, requests_beyond, requests_for, share_bounds
from sender.runtime.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.bench.threshold import Threshold

Verdict = Literal["holds", "fails", "unclear"]
NARROW: Final = 1.05
"""Ratio of the lowest rate that fails to the highest one that holds, at which the search ends."""
TRIALS: Final = 2
"""Of a rate, in which it has to hold."""
LEAST_RATE: Final = 1.0
MOST_RATE: Final = 1_000_000.0
LONGEST: Final = 120.0
"""Seconds of a trial, however many requests a check needs."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement at a rate."""

    rate: float
    result: Mapping[str, Any]
    histograms: Mapping[str, Histogram]
    """By the names of the groups: latency_ms, service_ms, start_lag_ms."""

    @property
    def reached(self) -> bool:
        """Whether the schedule was kept."""
        return bool(self.result["reached"]["rate_reached"])

    def missed(self, thresholds: Sequence[Threshold]) -> str | None:
        """Why it does not hold, in a few words."""
        if not self.reached:
            reached = self.result["reached"]
            return f"{reached['started'] / max(1, reached['planned']):.1%} of the planned requests were started"
        for one in thresholds:
            if not one.holds(self.result):
                found = one.found(self.result)
                return f"{one.figure} {'nothing measured' if found is None else f'{found:,.4g}{one.unit}'}"
        return None


def judge(thresholds: Sequence[Threshold], trials: Sequence[Trial]) -> Verdict:
    """What the trials of one rate say of it."""
    missed = [trial.missed(thresholds) is not None for trial in trials]
    if sum(missed) >= TRIALS or not any(trial.result["reached"]["ok"] for trial in trials):
        return "fails"
    bounds = [_bounded(one, trials) for one in thresholds]
    if any(bound == "fails" for bound in bounds):
        return "fails"
    if not any(missed) and len(trials) >= TRIALS and all(bound == "holds" for bound in bounds):
        return "holds"
    return "unclear"


def _bounded(threshold: Threshold, trials: Sequence[Trial]) -> Verdict:
    """Whether both bounds of the figure are on one side of the check; `holds` for figures that have no bounds."""
    bounds = bounds_of(threshold, trials)
    if bounds is None:
        return "holds"
    good = [threshold.allows(bound) for bound in bounds]
    return "holds" if all(good) else "unclear" if any(good) else "fails"


def bounds_of(threshold: Threshold, trials: Sequence[Trial]) -> tuple[float, float] | None:
    """(lower, upper) of a percentile in ms, or of the errors in percent; None for other figures."""
    if threshold.figure == "errors" and threshold.percent:
        started = sum(trial.result["reached"]["started"] for trial in trials)
        lower, upper = share_bounds(sum(trial.result["reached"]["errors"] for trial in trials), started)
        return 100 * lower, 100 * upper
    if threshold.figure.startswith("p"):
        merged = Histogram()
        for trial in trials:
            merged.merge(trial.histograms[threshold.group])
        return percentile_bounds(merged, float(threshold.figure[1:])) if merged.count else None
    return None


def seconds_of(rate: float, asked: float, thresholds: Sequence[Threshold]) -> float:
    """How long a trial takes: as asked, or until two of them have the requests that the checks need."""
    needed = max((_requests(one) for one in thresholds), default=1)
    return min(max(asked, LONGEST), max(asked, math.ceil(needed / TRIALS / rate)))


def _requests(threshold: Threshold) -> int:
    if threshold.figure == "errors":
        return requests_for(threshold.value / 100) if threshold.percent else 1
    return requests_beyond(float(threshold.figure[1:])) if threshold.figure.startswith("p") else 1


class Search:
    """What is known so far."""

    def __init__(self, start: float) -> None:
        self._start = start
        self.holds: float | None = None
        """The highest rate that holds, below every one that fails."""
        self.fails: float | None = None
        """The lowest rate that fails."""

    def next_rate(self) -> float | None:
        """What to try; None when the search is over."""
        if self.holds is None and self.fails is None:
            return self._start
        if self.fails is None:
            return min(MOST_RATE, self.holds * 2) if self.holds and self.holds < MOST_RATE else None
        if self.holds is None:
            return max(LEAST_RATE, rounded(self.fails / 2)) if self.fails > LEAST_RATE else None
        middle = rounded(math.sqrt(self.holds * self.fails))
        return middle if self.fails > NARROW * self.holds and self.holds < middle < self.fails else None

    def learn(self, rate: float, verdict: Verdict) -> None:
        """A rate that is unclear after all its trials is none that holds."""
        if verdict == "holds":
            self.holds = rate
        else:
            self.fails = rate
            if self.holds is not None and self.holds >= rate:
                self.holds = None


def rounded(rate: float) -> float:
    """To three digits."""
    digits = 2 - math.floor(math.log10(rate))
    return round(rate, digits)
