"""The Measures of one process: everything that is counted while the benchmark runs; those of several are merged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sender.bench.histogram import Histogram
from sender.bench.series import Series

if TYPE_CHECKING:
    from sender.bench.schedule import Schedule
    from sender.transport.verdict import Verdict


class Measures:
    """Counts and histograms; only what is planned after ramp and warm-up goes into the figures."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.latency = Histogram()
        """From the planned start to the end of the answer."""
        self.service = Histogram()
        """From the real start to the end of the answer."""
        self.lag = Histogram()
        """From the planned to the real start."""
        self.series = Series(schedule.end)
        self.started = 0
        self.answered = 0
        self.ok = 0
        self.http_429 = 0
        self.not_started = 0
        self.held_up = 0
        """Requests that started late because all hands were full."""
        self.most_in_flight = 0
        self.statuses: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.halted: str | None = None
        self.stopped = False
        self.ran = 0.0
        """Seconds from the start to the end of the schedule, or to where it was stopped."""

    def start(self, planned: float, started: float) -> None:
        """A request starts; both instants are seconds after the start of the schedule."""
        self.series.at(planned).planned += 1
        if self._schedule.measured(planned):
            self.started += 1
            self.lag.record(started - planned)

    def end(self, planned: float, started: float, ended: float, verdict: Verdict) -> None:
        """A request has its answer, or will have none."""
        ok = verdict.what == "sent"
        step = self.series.at(planned)
        step.answered += verdict.http_status is not None
        step.ok += ok
        step.http_429 += verdict.throttled
        step.latency_ms.add((ended - planned) * 1000)
        if self._schedule.measured(planned):
            self._count(ok, verdict)
            self.latency.record(ended - planned)
            self.service.record(ended - started)

    def _count(self, ok: bool, verdict: Verdict) -> None:
        self.ok += ok
        self.answered += verdict.http_status is not None
        self.http_429 += verdict.throttled
        self.statuses[str(verdict.http_status or "none")] += 1
        if not ok:
            self.codes[verdict.code] += 1

    def never_started(self, planned: float, waited: float, count: int) -> None:
        """Requests planned about then were not started in time: they waited at least so long, and count with that."""
        step = self.series.at(planned)
        step.planned += count
        step.latency_ms.add(waited * 1000, count)
        if self._schedule.measured(planned):
            self.not_started += count
            self.latency.record(waited, count)

    def merge(self, other: Measures) -> None:
        """Count what another process counted."""
        for mine, theirs in ((self.latency, other.latency), (self.service, other.service), (self.lag, other.lag)):
            mine.add(theirs)
        self.series.merge(other.series)
        for name in ("started", "answered", "ok", "http_429", "not_started", "held_up", "most_in_flight"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.statuses.update(other.statuses)
        self.codes.update(other.codes)
        self.halted = self.halted or other.halted
        self.stopped = self.stopped or other.stopped
        self.ran = max(self.ran, other.ran)
