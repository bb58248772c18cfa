"""The metrics of one workspace of the API: an Observer that counts, and the lanes and ledger to be looked at."""

from __future__ import annotations

import asyncio
import math
from functools import cache, partial
from typing import TYPE_CHECKING, Literal, get_args

from sender.jobs.kinds import LANES
from sender.jobs.status import STATUSES
from sender.runtime.metrics.labels import OTHER, kind_label, lane_label, status_label
from sender.runtime.metrics.observer import Commit
from sender.runtime.metrics.watched import answer_of
from sender.runtime.recent_rate import RecentRate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prometheus_client import Histogram

    from sender.runtime.metrics.events import Events
    from sender.runtime.metrics.watched import Lane, Ledger


Flag = Literal["paused", "halted", "state_away"]


class WorkspaceMetrics:
    """An `Observer`; belongs to one event loop and one thread.

    The series of known lanes, statuses and commits begin at 0 with the run, so that rates begin with it.
    """

    def __init__(self, name: str, events: Events) -> None:
        self._requests = cache(partial(events.requests.labels, name))  # labels are closed sets, which bounds it
        self._unidentified = events.unidentified.labels(name)
        self._outcomes = cache(partial(events.outcomes.labels, name))
        self._latency = {lane: events.latency.labels(name, lane) for lane in LANES}
        self._turns = {lane: events.turns.labels(name, lane) for lane in LANES}
        self._commits = {operation: events.commits.labels(name, operation) for operation in get_args(Commit)}
        for status in STATUSES:
            self._outcomes(status)
        self._ledger: Ledger | None = None
        self.lanes: dict[str, Lane] = {}
        self.rates: dict[str, RecentRate] = {}
        """Requests a second that each lane wrote of late."""
        self.flags: Mapping[Flag, Callable[[], bool]] = {}
        """Whether it is held up in one of these ways."""
        self.counts: dict[str, int] | None = None
        """The ledger's jobs by state; None while it does not tell."""

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """See `Observer`."""
        self._requests(lane_label(lane), kind_label(kind), status_label(status)).inc()
        self._look(lane)
        if seconds is not None and lane in self._latency:
            _observe(self._latency[lane], seconds)

    def observe_turn(self, lane: str, seconds: float) -> None:
        """See `Observer`."""
        if lane in self._turns:
            _observe(self._turns[lane], seconds)

    def observe_outcome(self, status: str, code: str | None = None) -> None:
        """See `Observer`; codes are in the outcomes."""
        del code
        self._outcomes(status if status in STATUSES else OTHER).inc()

    def observe_unidentified(self) -> None:
        """See `Observer`."""
        self._unidentified.inc()

    def observe_commit(self, operation: Commit, seconds: float) -> None:
        """See `Observer`."""
        _observe(self._commits[operation], seconds)

    def watch_lane(self, name: str, lane: Lane) -> None:
        """Look at this lane at each scrape, and at its rate with each request, however seldom somebody scrapes."""
        self.lanes[name] = lane
        self.rates[name] = RecentRate()
        self._look(name)

    def watch_flags(self, flags: Mapping[Flag, Callable[[], bool]]) -> None:
        """Look at these at each scrape."""
        self.flags = flags

    def _look(self, lane: str) -> None:
        if lane in self.rates:
            self.rates[lane].look(asyncio.get_running_loop().time(), self.lanes[lane].pacer.requests)

    def watch_ledger(self, ledger: Ledger | None) -> None:
        """Ask this ledger how many jobs are in doubt; None while none is open."""
        self._ledger = ledger

    async def refresh(self) -> None:
        """Have the ledger count; one that does not answer in time leaves the counts unknown."""
        self.counts = None if self._ledger is None else await answer_of(self._ledger.count())


def _observe(histogram: Histogram, seconds: float) -> None:
    """Count a duration; one below 0 (no clock is perfect) counts as 0, one that is no number not at all."""
    if math.isfinite(seconds):
        histogram.observe(max(0.0, seconds))
