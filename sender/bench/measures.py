"""The Measures of one process: everything that is counted while the benchmark runs; those of several are merged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sender.bench.series import Series, Step
from sender.bench.stages import Stages
from sender.runtime.histogram import Histogram

if TYPE_CHECKING:
    from sender.bench.schedule import Schedule
    from sender.transport.verdict import Verdict


class Measures:
    """Counts, and histograms in milliseconds; only what is planned after ramp and warm-up goes into the figures."""

    def __init__(self, schedule: Schedule | Stages) -> None:
        self._schedule = schedule
        self._stages = schedule if isinstance(schedule, Stages) else None
        self.parts: dict[tuple[int, str], Step] = {}
        """By stage and kind, where there are stages; of the whole run."""
        self.latency = Histogram()
        """From the planned start to the end of a wanted answer, and the waiting of requests that never started."""
        self.service = Histogram()
        """From the real start to the end of a wanted answer."""
        self.errors = Histogram()
        """From the planned start to the end of a request without the wanted answer."""
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
        self.succeeded = False
        """Whether any request had the wanted answer, in ramp and warm-up too."""
        self.failure: str | None = None
        """What was wrong with the first one that had not."""
        self.halted: str | None = None
        self.stopped = False
        self.ran = 0.0
        """Seconds from the start to the end of the schedule, or to where it was stopped."""

    def start(self, planned: float, started: float) -> None:
        """A request starts; both instants are seconds after the start of the schedule."""
        self.series.at(planned).planned += 1
        if self._schedule.measured(planned):
            self.started += 1
            self.lag.add((started - planned) * 1000)

    def end(self, planned: float, started: float, ended: float, verdict: Verdict, kind: str = "") -> None:
        """A request has its answer, or will have none."""
        ok = verdict.what == "sent"
        self.succeeded = self.succeeded or ok
        latency_ms = (ended - planned) * 1000
        self.series.at(planned).end(verdict, latency_ms)
        if self._stages is not None:
            part = self.parts.setdefault((self._stages.stage_at(planned), kind), Step())
            part.planned += 1
            part.end(verdict, latency_ms)
        if self._schedule.measured(planned):
            self._count(ok, verdict)
            (self.latency if ok else self.errors).add(latency_ms)
            if ok:
                self.service.add((ended - started) * 1000)

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
            self.latency.add(waited * 1000, count)

    def merge(self, other: Measures) -> None:
        """Count what another process counted."""
        for name in ("latency", "service", "errors", "lag", "series"):
            getattr(self, name).merge(getattr(other, name))
        for name in ("started", "answered", "ok", "http_429", "not_started", "held_up", "most_in_flight"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for key, part in other.parts.items():
            self.parts.setdefault(key, Step()).merge(part)
        self.statuses.update(other.statuses)
        self.codes.update(other.codes)
        self.succeeded = self.succeeded or other.succeeded
        self.failure = self.failure or other.failure
        self.halted = self.halted or other.halted
        self.stopped = self.stopped or other.stopped
        self.ran = max(self.ran, other.ran)
