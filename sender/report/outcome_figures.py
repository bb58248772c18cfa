"""The figures of outcome logs, gathered line by line (docs/delivery-semantics.md, "The outcome log")."""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import datetime
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.jobs.status import STATUSES
from sender.report.job_table import NOT_SENT, JobTable, Unsent, key_of
from sender.report.seen_requests import SeenRequests
from sender.report.timeline import Timeline
from sender.report.words import clean, clean_code, clean_message
from sender.runtime.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWEST: Final = 10
MOST_CODES: Final = 200
MOST_WARNINGS: Final = 20
"""Warnings of one line that are counted; a line has no more."""
MOST_ATTEMPTS: Final = 1_000_000
MOST_UNSENT: Final = 10_000
"""Jobs that were not sent which are held for the page; a file takes all of them."""
ELSE: Final = "(other codes)"
NEVER_WRITTEN: Final = frozenset({"connect_failed", "tls_failed", "dns_failed", "pool_timeout"})
"""Codes of a last attempt that had no connection."""


class Slow(NamedTuple):
    """One of the slowest jobs."""

    latency_ms: float
    order: int
    job: str
    kind: str
    place: str
    attempts: int


class Example(NamedTuple):
    """One job of many with the same error."""

    job: str
    message: str


class Times(NamedTuple):
    """What a line tells of time: instants in unix seconds; None for what is absent or makes no sense."""

    started: float | None
    written: float | None
    finished: float | None
    latency_ms: float | None

    @classmethod
    def of(cls, outcome: dict[str, Any]) -> Times:
        """Read a line."""
        started, written, finished = (_unix(outcome.get(name)) for name in ("started_at", "written_at", "finished_at"))
        return cls(started, written, finished, _milliseconds(outcome.get("latency_ms")))

    def likely_written(self, attempts: int) -> float | None:
        """When the last request was written as far as a log lets one know that does not tell."""
        if attempts == 1 and self.started is not None:
            return self.started
        if self.finished is not None and self.latency_ms is not None:
            return self.finished - self.latency_ms / 1000
        return self.started if self.started is not None else self.finished


class OutcomeFigures:
    """Everything that a report says of a run."""

    def __init__(self) -> None:
        self.lines = 0
        self.unreadable = 0
        self.attempts = 0
        self.retries = 0
        self.http_429 = 0
        self.first: float | None = None
        self.last: float | None = None
        self.kinds: Counter[str] = Counter()
        self.timeline = Timeline()
        self.latency_ms = Histogram()
        self.examples: dict[str, Example] = {}
        self.warnings: Counter[str] = Counter()
        """Warnings by code; a `draft` is accepted and reaches nobody until a person releases it."""
        self.warned: dict[str, Example] = {}
        self.fates: dict[tuple[str, str], int] = {}
        self.doubts: list[tuple[str, str, int]] = []
        """(code of its first doubt, status that holds, jobs) of all that ever were in doubt."""
        self.unsent: list[Unsent] = []
        """The first `MOST_UNSENT` jobs that were not sent."""
        self._table = JobTable()
        self._seen = SeenRequests()
        self._stamped = False
        """Whether this log tells when requests were written; older versions wrote only when jobs were started."""
        self._slow: list[Slow] = []
        self._order = count()

    def add(self, outcome: Any) -> bool:
        """Count one line's document; False, and counted as unreadable, when it is no outcome."""
        if not isinstance(outcome, dict) or outcome.get("status") not in STATUSES:
            self.unreadable += 1
            return False
        self.lines += 1
        status = outcome["status"]
        code = self._code(outcome)
        key = key_of(_job_of(outcome))
        self._table.add(key, status, code, _unsent(outcome, code) if status in NOT_SENT else None)
        if status != "duplicate":
            self.kinds[_kind(outcome)] += 1
            self._time(key, outcome, code)
        return True

    def close(self, tell_unsent: Callable[[Unsent], None] | None = None) -> None:
        """All lines are counted; `tell_unsent` is told of every job that was not sent."""
        self.fates = self._table.counts()
        self.doubts = self._table.doubts()
        unsent = self._table.unsent()
        self.unsent = list(islice(unsent, MOST_UNSENT))
        if tell_unsent is not None:
            for job in chain(self.unsent, unsent):
                tell_unsent(job)
        self._table.close()

    @property
    def jobs(self) -> int:
        """Jobs, and lines that repeat one."""
        return sum(self.fates.values())

    def by_status(self) -> dict[str, int]:
        """How many jobs stand as what."""
        found: dict[str, int] = dict.fromkeys(map(str, STATUSES), 0)
        for (status, _), number in self.fates.items():
            found[status] = found.get(status, 0) + number
        return found

    def by_code(self) -> list[tuple[str, str, int]]:
        """(code, status, jobs), the most frequent first."""
        rows = [(code, status, number) for (status, code), number in self.fates.items() if code]
        return sorted(rows, key=lambda row: (-row[2], row[0]))

    @property
    def slowest(self) -> list[Slow]:
        """The slowest jobs, the slowest first."""
        return sorted(self._slow, reverse=True)

    def _code(self, outcome: dict[str, Any]) -> str:
        error = outcome.get("error")
        if not isinstance(error, dict):
            return ""
        code = clean_code(error.get("code"))
        if code not in self.examples:
            if len(self.examples) >= MOST_CODES:
                return ELSE
            self.examples[code] = Example(_shown_job(outcome), clean_message(error.get("message")))
        return code

    def _time(self, key: bytes, outcome: dict[str, Any], code: str) -> None:
        stamp = outcome.get("written_at") or outcome.get("started_at")
        lasting = outcome["status"] == "in_doubt" or outcome.get("kind") == "broadcast"
        if isinstance(stamp, str) and not self._seen.is_new(key, stamp[:40], lasting=lasting):
            return
        self._warn(outcome)
        times = Times.of(outcome)
        attempts = outcome.get("attempts")
        attempts = attempts if type(attempts) is int and 0 < attempts <= MOST_ATTEMPTS else 0
        self.attempts += attempts
        self._stamped = self._stamped or times.written is not None
        written = times.written
        if not self._stamped and code not in NEVER_WRITTEN:
            written = times.likely_written(attempts)
        for instant in (written, times.finished):
            if instant is not None:
                self.first = instant if self.first is None else min(self.first, instant)
                self.last = instant if self.last is None else max(self.last, instant)
        if attempts and written is not None:
            self._request(outcome, times, written, attempts)
        if times.latency_ms is not None:
            self._slowest(outcome, times.latency_ms, attempts)

    def _warn(self, outcome: dict[str, Any]) -> None:
        warnings = outcome.get("warnings")
        for warning in warnings[:MOST_WARNINGS] if isinstance(warnings, list) else ():
            if isinstance(warning, dict):
                code = clean_code(warning.get("code"))
                code = code if code in self.warned or len(self.warned) < MOST_CODES else ELSE
                self.warnings[code] += 1
                if code not in self.warned:
                    self.warned[code] = Example(_shown_job(outcome), clean_message(warning.get("message")))

    def _request(self, outcome: dict[str, Any], times: Times, written: float, attempts: int) -> None:
        step = self.timeline.request(written)
        if attempts > 1:
            step.retries += attempts - 1
            self.retries += attempts - 1
            if times.started is not None:
                self.timeline.alive(times.started, written)
        if outcome.get("http_status") == 429:
            step.http_429 += 1
            self.http_429 += 1
        if times.latency_ms is not None:
            step.latency_ms.add(times.latency_ms)
            self.latency_ms.add(times.latency_ms)

    def _slowest(self, outcome: dict[str, Any], latency: float, attempts: int) -> None:
        if len(self._slow) == SLOWEST and latency <= self._slow[0].latency_ms:
            return
        place = f"{clean(outcome.get('source'), 60)}:{clean(outcome.get('line'), 12)}"
        slow = Slow(latency, -next(self._order), _shown_job(outcome), _kind(outcome), place, attempts)
        (heapq.heappushpop if len(self._slow) == SLOWEST else heapq.heappush)(self._slow, slow)


def _job_of(outcome: dict[str, Any]) -> str:
    job = outcome.get("id")
    return f"id {job}" if job is not None else f"line {outcome.get('line')} of {outcome.get('source')}"


def _shown_job(outcome: dict[str, Any], most: int = 64) -> str:
    job = outcome.get("id")
    return clean(job, most) if isinstance(job, str | int) else f"line {clean(outcome.get('line'), 12)}"


def _kind(outcome: dict[str, Any]) -> str:
    kind = outcome.get("kind")
    return clean_code(kind) if kind is not None else "(unknown)"


def _unsent(outcome: dict[str, Any], code: str) -> Unsent:
    """The line of a job that was not sent, in safe texts."""
    error = outcome.get("error")
    at = outcome.get("written_at") or outcome.get("finished_at") or ""
    return Unsent(
        job=_shown_job(outcome, 256), kind=_kind(outcome), status=outcome["status"], code=code,
        message=clean_message(error.get("message")) if isinstance(error, dict) else "",
        http_status=_text(outcome.get("http_status")), attempts=_text(outcome.get("attempts")), at=_text(at),
        source=clean(outcome.get("source", ""), 120), line=_text(outcome.get("line")),
    )


def _text(value: Any) -> str:
    return "" if value is None else clean(value, 30)


def _milliseconds(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value < 1e9 else None


def _unix(value: Any) -> float | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        instant = datetime.fromisoformat(value)
        seconds = instant.timestamp() if instant.tzinfo is not None else -1.0
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < 1e11 else None
