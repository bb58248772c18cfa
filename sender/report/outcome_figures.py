"""The figures of outcome logs, gathered line by line (docs/delivery-semantics.md, "The outcome log")."""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import datetime
from itertools import count
from typing import Any, Final, NamedTuple

from sender.outcomes.outcome import STATUSES
from sender.report.fates import Fates
from sender.report.timeline import Timeline
from sender.report.words import clean, clean_code, clean_message
from sender.runtime.distribution import Distribution

SLOWEST: Final = 10
MOST_CODES: Final = 200
MOST_ATTEMPTS: Final = 1_000_000
ELSE: Final = "(other codes)"


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
        self.latency_ms = Distribution()
        self.examples: dict[str, Example] = {}
        self.fates: dict[tuple[str, str], int] = {}
        self._fates = Fates()
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
        self._fates.add(_job_of(outcome), status, code)
        if status != "duplicate":
            self.kinds[_kind(outcome)] += 1
            self._time(outcome)
        return True

    def close(self) -> None:
        """All lines are counted."""
        self.fates = self._fates.counts()
        self._fates.close()

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

    def _time(self, outcome: dict[str, Any]) -> None:
        attempts = outcome.get("attempts")
        attempts = attempts if type(attempts) is int and 0 < attempts <= MOST_ATTEMPTS else 0
        self.attempts += attempts
        latency = _milliseconds(outcome.get("latency_ms"))
        written, finished = _written_at(outcome, attempts, latency), _unix(outcome.get("finished_at"))
        for instant in (written, finished):
            if instant is not None:
                self.first = instant if self.first is None else min(self.first, instant)
                self.last = instant if self.last is None else max(self.last, instant)
        if attempts and written is not None:
            self._request(outcome, written, attempts, latency)
        if latency is not None:
            self._slowest(outcome, latency, attempts)

    def _request(self, outcome: dict[str, Any], written: float, attempts: int, latency: float | None) -> None:
        step = self.timeline.request(written)
        step.retries += attempts - 1
        self.retries += attempts - 1
        refused = outcome.get("http_status") == 429
        step.http_429 += refused
        self.http_429 += refused
        if latency is not None:
            step.latency_ms.add(latency)
            self.latency_ms.add(latency)

    def _slowest(self, outcome: dict[str, Any], latency: float, attempts: int) -> None:
        if len(self._slow) == SLOWEST and latency <= self._slow[0].latency_ms:
            return
        place = f"{clean(outcome.get('source'), 60)}:{clean(outcome.get('line'), 12)}"
        slow = Slow(latency, -next(self._order), _shown_job(outcome), _kind(outcome), place, attempts)
        (heapq.heappushpop if len(self._slow) == SLOWEST else heapq.heappush)(self._slow, slow)


def _job_of(outcome: dict[str, Any]) -> str:
    job = outcome.get("id")
    return f"id {job}" if job is not None else f"line {outcome.get('line')} of {outcome.get('source')}"


def _shown_job(outcome: dict[str, Any]) -> str:
    job = outcome.get("id")
    return clean(job, 64) if isinstance(job, str | int) else f"line {clean(outcome.get('line'), 12)}"


def _kind(outcome: dict[str, Any]) -> str:
    kind = outcome.get("kind")
    return clean_code(kind) if kind is not None else "(unknown)"


def _written_at(outcome: dict[str, Any], attempts: int, latency: float | None) -> float | None:
    """When the last attempt was written, as far as the log tells: to a few milliseconds."""
    finished, started = _unix(outcome.get("finished_at")), _unix(outcome.get("started_at"))
    if attempts == 1 and started is not None:
        return started
    if finished is not None and latency is not None:
        return finished - latency / 1000
    return started if started is not None else finished


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
