"""The figures of one workspace of the API: events counted in plain numbers, and lanes that are looked at when asked.

Every label has a small closed set of values: whatever an API or a job says, no label holds an id, an address, a
template or a text of theirs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, cast

from sender.jobs.kinds import KINDS, LANES
from sender.outcomes.outcome import STATUSES
from sender.runtime.histogram import Histogram
from sender.runtime.metrics.answer import answer_of
from sender.runtime.metrics.rate import RecentRate
from sender.runtime.metrics.timed import COMMITS, TimedLedger

if TYPE_CHECKING:
    from sender.engine.breaker import Breaker
    from sender.ledger import Ledger

LATENCY: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0)
"""Bounds in seconds, up to the default timeout of an attempt."""
WAIT: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0)
COMMIT: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
HTTP_STATUSES: Final = frozenset({200, 201, 202, 204, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504})
FAULTS: Final = frozenset(
    {"connect_failed", "tls_failed", "dns_failed", "pool_timeout", "timeout", "connection_reset", "answer_cut",
     "answer_unreadable", "answer_too_large", "interrupted"}
)
OTHER: Final = "other"


class Paced(Protocol):
    """What is looked at of a pacer, the run's own or the shared one."""

    requests: int
    most_in_window: int

    @property
    def rate(self) -> float:
        """Requests a second that the limit allows."""

    @property
    def paused_until(self) -> float:
        """Loop time until which the lane is paused."""


class Lane(Protocol):
    """What is looked at of a lane."""

    breaker: Breaker

    @property
    def http_429(self) -> int:
        """Requests that were answered with 429."""

    @property
    def pacer(self) -> Paced:
        """Its pace."""

    @property
    def in_hand(self) -> int:
        """Requests under way."""

    @property
    def waiting(self) -> int:
        """Jobs taken on and not under way."""


@dataclass(slots=True)
class WorkspaceFigures:
    """An `Observer` that counts; belongs to one event loop and one thread."""

    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By lane, kind and status."""
    outcomes: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(STATUSES, 0)))
    latency: dict[str, Histogram] = field(default_factory=lambda: {lane: Histogram(LATENCY) for lane in LANES})
    turns: dict[str, Histogram] = field(default_factory=lambda: {lane: Histogram(WAIT) for lane in LANES})
    commits: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram(COMMIT) for name in COMMITS})
    lanes: dict[str, Lane] = field(default_factory=dict)
    rates: dict[str, RecentRate] = field(default_factory=dict)
    counts: dict[str, int] | None = None
    """The ledger's jobs by state; None while it does not tell."""
    _ledger: Ledger | None = None

    def observe_attempt(self, lane: str, kind: str, status: int | str, seconds: float | None) -> None:
        """See `Observer`."""
        lane = lane_label(lane)
        self.requests[lane, kind if kind in KINDS else OTHER, status_label(status)] += 1
        if seconds is not None and lane in self.latency:
            self.latency[lane].add(seconds)

    def observe_turn(self, lane: str, seconds: float) -> None:
        """See `Observer`."""
        if lane in self.turns:
            self.turns[lane].add(seconds)

    def observe_outcome(self, status: str) -> None:
        """See `Observer`."""
        self.outcomes[status if status in STATUSES else OTHER] += 1

    def timed(self, ledger: Ledger) -> Ledger:
        """See `Observer`."""
        return cast("Ledger", TimedLedger(ledger, self.commits))

    def watch_lane(self, name: str, lane: Lane) -> None:
        """Look at this lane whenever asked."""
        self.lanes[name] = lane
        self.rates[name] = RecentRate()

    def watch_ledger(self, ledger: Ledger) -> None:
        """Ask this ledger how many jobs are in doubt."""
        self._ledger = ledger

    async def ask(self) -> None:
        """Have the ledger count; one that does not answer in time leaves the counts unknown."""
        if self._ledger is not None:
            self.counts = await answer_of(self._ledger.count())


def lane_label(lane: str) -> str:
    """The lane itself if it is one."""
    return lane if lane in LANES else OTHER


def status_label(status: int | str) -> str:
    """A status that is expected by its number, another by its class, a fault by its code."""
    if isinstance(status, str):
        return status if status in FAULTS else OTHER
    if status in HTTP_STATUSES:
        return str(status)
    return f"{status // 100}xx" if 100 <= status < 600 else OTHER
