"""An Outcome is what became of a job: one line of the outcome log.

See docs/delivery-semantics.md, "Statuses" and "The outcome log".
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from sender.jobs.problem import Problem
    from sender.jobs.status import Status


class Outcome(NamedTuple):
    """The end of a job, or a change of its fate."""

    id: str | None
    kind: str | None
    status: Status
    source: str
    line: int
    attempts: int = 0
    http_status: int | None = None
    problems: tuple[Problem, ...] = ()
    """What went wrong, the first one first; empty for `sent`."""
    warnings: tuple[Problem, ...] = ()
    meta: bytes | None = None
    result: tuple[tuple[str, Any], ...] = ()
    """What the API answered that is worth keeping: `delivery_id`, `queued_at`, `trigger_id`…"""
    started_at: float | None = None
    """Unix seconds at which the first attempt began."""
    written_at: float | None = None
    """Unix seconds at which the request was written, that of the last attempt that got so far; None if none did."""
    finished_at: float | None = None
    latency_ms: float | None = None
    """From the last attempt's write to its answer."""

    @property
    def delivery_id(self) -> str | None:
        """The delivery's id, where the API gave one."""
        found = dict(self.result).get("delivery_id")
        return None if found is None else str(found)

    @property
    def error(self) -> dict[str, Any] | None:
        """The first problem, as the log tells it, and all of them where there are more."""
        if not self.problems:
            return None
        error: dict[str, Any] = _as_dict(self.problems[0])
        if len(self.problems) > 1:
            error["problems"] = [_as_dict(problem) for problem in self.problems]
        return error

    def to_line(self) -> bytes:
        """The outcome as one JSON line, with its line end."""
        record: dict[str, Any] = {
            "id": self.id, "kind": self.kind, "status": self.status, **dict(self.result),
            "http_status": self.http_status, "attempts": self.attempts, "error": self.error,
            "warnings": tuple(map(_as_dict, self.warnings)), "source": self.source, "line": self.line,
        }
        if self.meta is not None:
            record["meta"] = orjson.Fragment(self.meta)
        if self.started_at is not None:
            record["started_at"] = _timestamp(self.started_at)
        if self.written_at is not None:
            record["written_at"] = _timestamp(self.written_at)
        if self.finished_at is not None:
            record["finished_at"] = _timestamp(self.finished_at)
        if self.latency_ms is not None:
            record["latency_ms"] = round(self.latency_ms, 1)
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _as_dict(problem: Problem) -> dict[str, str]:
    code, field, message, column = problem
    told = {"code": code}
    if field is not None:
        told["field"] = field
    if column is not None:
        told["column"] = column
    told["message"] = message
    return told


def _timestamp(seconds: float) -> str:
    return _millisecond(round(seconds * 1_000_000) // 1000)


@lru_cache(maxsize=1024)
def _millisecond(milliseconds: int) -> str:
    """Many outcomes share one."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Thousands of outcomes share one."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
