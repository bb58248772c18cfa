"""What happened second by second, by the planned start; long runs get wider steps, so the series stays short."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sender.runtime.histogram import COARSE, Histogram

if TYPE_CHECKING:
    from sender.transport.verdict import Verdict

MOST_STEPS: Final = 1800


@dataclass(slots=True)
class Step:
    """One step of the series."""

    planned: int = 0
    answered: int = 0
    ok: int = 0
    http_429: int = 0
    latency_ms: Histogram = field(default_factory=lambda: Histogram(COARSE))

    def end(self, verdict: Verdict, latency_ms: float) -> None:
        """A request that was planned here has its answer, or will have none."""
        ok = verdict.what == "sent"
        self.answered += verdict.http_status is not None
        self.ok += ok
        self.http_429 += verdict.throttled
        if ok:
            self.latency_ms.add(latency_ms)

    def merge(self, other: Step) -> None:
        """Count what the other one counted."""
        self.planned += other.planned
        self.answered += other.answered
        self.ok += other.ok
        self.http_429 += other.http_429
        self.latency_ms.merge(other.latency_ms)


class Series:
    """Steps of `width` seconds from the start of the schedule."""

    def __init__(self, end: float) -> None:
        self.width = max(1, math.ceil(end / MOST_STEPS))
        self.steps: dict[int, Step] = {}
        self._number = -1
        self._step = Step()
        """The one that was asked for last, and its number."""

    def at(self, offset: float) -> Step:
        """The step of a request planned `offset` seconds after the start."""
        number = int(offset // self.width)
        if number != self._number:
            self._number, self._step = number, self.steps.setdefault(number, Step())
        return self._step

    def merge(self, other: Series) -> None:
        """Count what the other one counted."""
        for number, step in other.steps.items():
            self.steps.setdefault(number, Step()).merge(step)

    def rows(self, measured_from: float) -> list[dict[str, Any]]:
        """The steps in order, as they are saved: rates per second, latencies in milliseconds."""
        return [self._row(number, step, measured_from) for number, step in sorted(self.steps.items())]

    def _row(self, number: int, step: Step, measured_from: float) -> dict[str, Any]:
        p50, p90, p99 = (_rounded(value) for value in step.latency_ms.percentiles((50, 90, 99)))
        return {
            "at_s": number * self.width, "measured": number * self.width >= measured_from - 1e-9,
            "planned": step.planned, "answered": step.answered, "ok": step.ok, "http_429": step.http_429,
            "p50": p50, "p90": p90, "p99": p99, "max": _rounded(step.latency_ms.most),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
