"""What happened when, in steps that widen as the run gets longer. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from sender.runtime.histogram import COARSE, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STEPS: Final = 1200
MOST_SECONDS: Final = 200_000
"""Seconds with requests in them that are told apart for the busiest one."""
MOST_SPANS: Final = 1000
QUIET: Final = 5
"""A silence of so many times the usual distance of requests may be a pause."""


@dataclass(slots=True)
class Step:
    """One step."""

    requests: int = 0
    retries: int = 0
    http_429: int = 0
    latency_ms: Histogram = field(default_factory=lambda: Histogram(COARSE))

    def merge(self, other: Step) -> None:
        """Count what the other one counted."""
        self.requests += other.requests
        self.retries += other.retries
        self.http_429 += other.http_429
        self.latency_ms.merge(other.latency_ms)


class Timeline:
    """Steps of `width` seconds in unix time."""

    def __init__(self) -> None:
        self.width = 1
        self._steps: dict[int, Step] = {}
        self._seconds: Counter[int] = Counter()
        self._crowded = False
        self._alive: list[tuple[float, float]] = []

    def __bool__(self) -> bool:
        return bool(self._steps)

    def at(self, instant: float) -> Step:
        """The step of an instant in unix seconds."""
        number = int(instant // self.width)
        step = self._steps.get(number)
        if step is None:
            step = self._steps[number] = Step()
            while len(self._steps) > MOST_STEPS:
                self._widen()
                step = self._steps[int(instant // self.width)]
        return step

    def request(self, instant: float) -> Step:
        """Count a request written then."""
        step = self.at(instant)
        step.requests += 1
        if not self._crowded:
            self._seconds[int(instant)] += 1
            self._crowded = len(self._seconds) > MOST_SECONDS
        return step

    @property
    def busiest(self) -> int | None:
        """Most requests in any second of the clock; None where there were too many seconds to tell."""
        return None if self._crowded else max(self._seconds.values(), default=0)

    @property
    def start(self) -> float:
        """Unix seconds at which the first step begins."""
        return float(min(self._steps) * self.width)

    def _widen(self) -> None:
        self._steps = merged(self._steps, 2)
        self.width *= 2

    def alive(self, begin: float, end: float) -> None:
        """A job was tried at both instants, in unix seconds: one run was there in between, written to or not."""
        self._alive.append((begin, end))
        if len(self._alive) > MOST_SPANS:
            self._alive = _united(self._alive)

    def steps(self, most: int) -> tuple[int, list[tuple[float, Step]]]:
        """(width in seconds, [(seconds from the start, step)]) in at most that many steps; silences are left out."""
        factor = 1
        while len(found := merged(self._steps, factor)) > most:
            factor *= 2
        width = self.width * factor
        first = min(found, default=0)
        return width, [((number - first) * float(width), step) for number, step in sorted(found.items())]

    def pauses(self, width: int, steps: list[tuple[float, Step]]) -> list[tuple[float, float]]:
        """Silences between these steps in which no job is known to have been under way.

        Returns (begin, end) in seconds from the start. A log does not tell when a run ended and another began: a
        silence counts when it is far longer than the usual distance of requests, apart from what lies between two tries
        of one job.
        """
        starts = [offset for offset, _ in steps]
        silences = [(one + width, other) for one, other in pairwise(starts)]
        if not silences:
            return []
        usual = median(other - one for one, other in pairwise(starts))
        origin = min(self._steps) * self.width // width * width
        alive = [(begin - origin, end - origin) for begin, end in _united(self._alive)]
        return [(begin, end) for begin, end in silences if _unseen(begin, end, alive) >= QUIET * usual]


def _unseen(begin: float, end: float, alive: list[tuple[float, float]]) -> float:
    """The longest part of a silence in which no job was known to be under way."""
    longest = 0.0
    for one, other in alive:
        if other > begin and one < end:
            longest = max(longest, one - begin)
            begin = other
    return max(longest, end - begin)


def _united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same without overlaps, in order; where too many are left, those of the last ones."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found[-MOST_SPANS // 2 :]


def merged(steps: dict[int, Step], factor: int) -> dict[int, Step]:
    """Steps that are so many times as wide."""
    if factor == 1:
        return steps
    found: dict[int, Step] = {}
    for number, step in steps.items():
        found.setdefault(number // factor, Step()).merge(step)
    return found


def filled(
    width: int, steps: list[tuple[float, Step]], pauses: list[tuple[float, float]]
) -> Iterator[tuple[float, Step | None]]:
    """The same with an empty step at both ends of each silence, where a curve falls to zero, and None at a pause."""
    begins = {begin for begin, _ in pauses}
    previous = -float(width)
    for offset, step in steps:
        missing = round((offset - previous) / width) - 1
        if previous + width in begins:
            yield previous + width, None
        elif missing:
            yield previous + width, Step()
            if missing > 1:
                yield offset - width, Step()
        yield offset, step
        previous = offset
