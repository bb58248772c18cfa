"""Observed is what a live view hears of a workspace: the latest latencies, and how its jobs ended."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final

from sender.runtime.live.figures import Latency, Problem
from sender.runtime.metrics import NoMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.runtime.metrics import Observer
    from sender.runtime.metrics.observer import Commit

LATEST: Final = 1000
"""Requests of a lane over which latencies are told."""
MOST_PROBLEMS: Final = 100
GOOD: Final = frozenset({"sent", "duplicate", "skipped"})


class Observed:
    """An `Observer` that passes all on to the next one."""

    def __init__(self, then: Observer | None = None) -> None:
        self._then = then or NoMetrics()
        self.latencies: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LATEST))
        """Seconds, by lane."""
        self.outcomes: Counter[str] = Counter()
        """Ends by status; one whose fate changes later counts once more."""
        self.problems: dict[tuple[str, str], Problem] = {}

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """See `Observer`."""
        if seconds is not None:
            self.latencies[lane].append(seconds)
        self._then.observe_attempt(lane, kind, status, seconds)

    def observe_turn(self, lane: str, seconds: float) -> None:
        """See `Observer`."""
        self._then.observe_turn(lane, seconds)

    def observe_outcome(self, status: str, code: str | None = None) -> None:
        """See `Observer`."""
        self.outcomes[status] += 1
        if status not in GOOD:
            self._count(code or status, status)
        self._then.observe_outcome(status, code)

    def observe_unidentified(self) -> None:
        """See `Observer`."""
        self._then.observe_unidentified()

    def observe_commit(self, operation: Commit, seconds: float) -> None:
        """See `Observer`."""
        self._then.observe_commit(operation, seconds)

    def _count(self, code: str, status: str) -> None:
        before = self.problems.get((code, status))
        if before is None and len(self.problems) >= MOST_PROBLEMS:
            return
        self.problems[code, status] = Problem(code, status, 1 if before is None else before.count + 1, time.time())


def latency_of(all_observed: Iterable[Observed], lane: str) -> Latency | None:
    """Of the latest requests of a lane, in all workspaces together."""
    values = sorted(seconds for one in all_observed for seconds in one.latencies.get(lane, ()))
    if not values:
        return None
    count = len(values)
    p50, p90, p99 = (round(values[min(count - 1, count * percent // 100)] * 1000, 1) for percent in (50, 90, 99))
    return Latency(count, p50, p90, p99, round(values[-1] * 1000, 1))


def problems_of(all_observed: Iterable[Observed]) -> list[Problem]:
    """In all workspaces together, the latest first."""
    found: dict[tuple[str, str], Problem] = {}
    for key, one in ((key, one) for observed in all_observed for key, one in observed.problems.items()):
        other = found.get(key)
        found[key] = one if other is None else Problem(
            one.code, one.status, one.count + other.count, max(one.at, other.at)
        )
    return sorted(found.values(), key=lambda one: -one.at)
