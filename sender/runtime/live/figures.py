"""The Figures of a run at one instant, as page and terminal show them: numbers and fixed words, nobody's data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.runtime.metrics.watched import Lane

State = Literal["starting", "running", "paused", "stopping", "ended"]
NO_LIMIT: Final = 1e9
"""Requests a second above which a pace is none."""


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """One lane of a workspace; rates are requests a second, times seconds."""

    workspace: str
    name: str
    requests: int
    """Written since the start."""
    rate: float
    """Of late."""
    limit: float | None
    """Of all replicas together; None where there is none."""
    most: int | None
    """Most requests in any window; None where nobody counts that."""
    http_429: int
    in_hand: int
    waiting: int
    breaker: str
    """closed, open or trying."""
    openings: int
    waits: float
    """Seconds until which the API let it wait."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of the latest requests, `count` of them."""

    count: int
    p50: float
    p90: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Problem:
    """How often a code stood in an end that was no success, and when it did last (unix seconds)."""

    code: str
    status: str
    count: int
    at: float


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that has to be true; `reason` says why it is not, and is empty when it is."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that is read; `lag` is None while its broker does not tell."""

    name: str
    lag: int | None
    redeliveries: int
    give_backs: int


@dataclass(frozen=True, slots=True)
class Replica:
    """One owner of a shared state."""

    number: int
    seen: float
    """Seconds since its last sign of life."""
    handed_over: int
    """Jobs that it has handed over and not ended."""
    own: bool
    """Whether it is this process."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it."""

    command: str
    state: State = "running"
    note: str = ""
    """One sentence: why it stands, or how it ended."""
    elapsed: float = 0.0
    total: int | None = None
    """What is to be done, where that is known."""
    done: int | None = None
    """How much of that is."""
    left: float | None = None
    """Seconds, at the rate of late."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """The books, by their headings, in the order in which they are shown."""
    in_doubt: int | None = None
    """Jobs that the ledger holds as in doubt, those that are handed over not among them; None: not known."""
    lanes: Sequence[LaneFigures] = ()
    latency: Latency | None = None
    problems: Sequence[Problem] = ()
    conditions: Sequence[Condition] = ()
    queues: Sequence[Queue] = ()
    replicas: Sequence[Replica] = ()
    dead_letters: Mapping[str, int] | None = None
    """Written, waiting and refused; None without a dead letter queue."""

    def to_json(self, **more: Any) -> bytes:
        """As a page gets it."""
        return orjson.dumps({**{name: getattr(self, name) for name in self.__slots__}, **more})

    @property
    def main_lane(self) -> LaneFigures | None:
        """The lane with the most requests; of equals the first."""
        return max(self.lanes, key=lambda lane: lane.requests, default=None)


def lane_figures(workspace: str, name: str, lane: Lane, rate: float, now: float) -> LaneFigures:
    """Read a lane at this loop time."""
    pacer, breaker = lane.pacer, lane.breaker
    return LaneFigures(
        workspace, name, pacer.requests, round(rate, 1), round(pacer.rate, 3) if pacer.rate < NO_LIMIT else None,
        pacer.most_in_window, lane.http_429, lane.in_hand, lane.waiting, breaker.state, breaker.opened,
        round(max(0.0, pacer.paused_until - now), 1),
    )
