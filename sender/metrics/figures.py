"""The Figures of a run: events counted in plain numbers, and the parts that are looked at when somebody asks.

Every label has a small closed set of values: whatever an API or a job says, no label holds an id, an address, a
template or a text of theirs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from sender.kinds import KINDS, LANES
from sender.metrics.histogram import Histogram
from sender.metrics.rate import RecentRate
from sender.outcome import STATUSES

if TYPE_CHECKING:
    from sender.engine.breaker import Breaker
    from sender.ledger import Ledger

LATENCY: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0)
"""Bounds in seconds, up to the default timeout of an attempt."""
WAIT: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0)
COMMIT: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
COMMITS: Final = ("hand_over", "settle", "release")
"""The ledger's methods that wait for a commit."""
COUNT_WITHIN: Final = 2.0
"""Seconds that a scrape waits for the ledger's count."""
COUNT_EVERY: Final = 2.0
"""Seconds for which a count is good, however many ask."""
HTTP_STATUSES: Final = frozenset({200, 201, 202, 204, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504})
FAULTS: Final = frozenset(
    {"connect_failed", "tls_failed", "dns_failed", "pool_timeout", "timeout", "connection_reset", "answer_cut",
     "answer_unreadable", "answer_too_large", "interrupted"}
)  # fmt: skip
OTHER: Final = "other"
MOST_QUEUES: Final = 32
MOST_NAME: Final = 100

Lag = Callable[[], int | None]
"""Jobs that wait in a queue as far as the broker told last; None while it is not known."""


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

    http_429: int
    breaker: Breaker

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
class Figures:
    """An `Observer` that counts; belongs to one event loop and one thread."""

    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By lane, kind and status."""
    outcomes: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(STATUSES, 0)))
    latency: dict[str, Histogram] = field(default_factory=lambda: {lane: Histogram(LATENCY) for lane in LANES})
    turns: dict[str, Histogram] = field(default_factory=lambda: {lane: Histogram(WAIT) for lane in LANES})
    commits: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram(COMMIT) for name in COMMITS})
    lanes: dict[str, Lane] = field(default_factory=dict)
    rates: dict[str, RecentRate] = field(default_factory=dict)
    queues: dict[str, Lag] = field(default_factory=dict)
    state: Callable[[], bool] | None = None
    """Whether the shared state can be reached; None where there is none."""
    conditions: Callable[[], dict[str, bool]] = dict
    """Readiness by condition."""
    in_hand: Callable[[], int] | None = None
    """Messages taken from queues and neither acknowledged nor given back."""
    counts: dict[str, int] | None = None
    """The ledger's jobs by state; None while it does not tell."""
    _ledger: Ledger | None = None
    _counted_at: float = float("-inf")
    _counting: asyncio.Lock = field(default_factory=asyncio.Lock)

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

    def watch_queue(self, name: str, lag: Lag) -> None:
        """Tell this queue's lag; `name` is the stream or queue as the operator calls it, never its URL."""
        if len(self.queues) < MOST_QUEUES:
            self.queues[_printable(name)] = lag

    async def refresh(self) -> None:
        """Ask the ledger, if its last word is old; one that does not answer in time leaves the counts unknown."""
        loop = asyncio.get_running_loop()
        async with self._counting:
            if self._ledger is None or loop.time() - self._counted_at < COUNT_EVERY:
                return
            try:
                async with asyncio.timeout(COUNT_WITHIN):
                    self.counts = await self._ledger.count()
            except Exception:  # noqa: BLE001 - a ledger that cannot be asked halts the run elsewhere, not the scrape
                self.counts = None
            self._counted_at = loop.time()


class TimedLedger:
    """A ledger like the one inside, whose commits are timed; all else is passed on."""

    def __init__(self, ledger: Ledger, commits: dict[str, Histogram]) -> None:
        self._ledger = ledger
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ledger, name)
        if name in self._commits:
            found = self._timing(found, self._commits[name])
            self.__dict__[name] = found
        return found

    @staticmethod
    def _timing(commit: Callable[..., Any], histogram: Histogram) -> Callable[..., Any]:
        async def timed(*args: Any) -> Any:
            begin = perf_counter()  # a duration of real work: the loop's clock may be virtual, a disk never is
            try:
                return await commit(*args)
            finally:
                histogram.add(perf_counter() - begin)

        return timed


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


def _printable(name: str) -> str:
    """A queue's name as a label; all that may hold a password is left out."""
    return "".join(sign if sign.isprintable() else "?" for sign in name.rpartition("@")[2][:MOST_NAME])
