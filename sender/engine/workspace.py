"""A Workspace of the API at work: one key, one transport, one set of limits, and the three lanes that keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sender.config.settings import DEFAULTS
from sender.engine.api_clock import ApiClock
from sender.engine.api_reader import ApiReader
from sender.engine.backoff import Backoff
from sender.engine.job_queue import JobQueue
from sender.engine.kind_gate import KindGate
from sender.engine.lane import Lane
from sender.engine.lane_context import LaneContext, Policy
from sender.engine.pacing.guard import Guard
from sender.engine.pacing.pacer import LocalPacers
from sender.engine.pacing.schedule import Schedule
from sender.engine.preflight import WORKSPACES
from sender.engine.trigger_follower import TriggerFollower
from sender.engine.waiting_triggers import NOTE
from sender.jobs.kinds import LANES
from sender.outcomes.summary import LaneFigures
from sender.runtime.metrics import NoMetrics
from sender.transport import TransportFault
from sender.transport.http_transport import HttpTransport
from sender.transport.proxy import proxy_for
from sender.transport.verdict import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.config.api_key import ApiKey
    from sender.config.settings import Settings
    from sender.engine.lane_context import LaneListener
    from sender.engine.pacing.pace import Demand, PacerFactory
    from sender.jobs.kinds import LaneName
    from sender.ledger import Ledger
    from sender.runtime.metrics import Observer

MOST_JOBS: Final = 2000
"""Jobs that wait in a lane's memory, whatever their size."""
SPARE_CONNECTIONS: Final = 16
MOST_WARM: Final = 20
PROBE_TIMEOUT: Final = 4.0
"""Seconds; less than the time between probes."""

log = structlog.get_logger()


class Workspace:
    """Made with its limits; `open_lanes` puts it to work.

    Who `joins` a shared state takes the rates that hold there, unless the settings have rates of their own.
    """

    def __init__(
        self,
        base_url: str,
        key: ApiKey,
        settings: Settings,
        wall: Callable[[], float],
        *,
        pacers: PacerFactory | None = None,
        joins: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self.observer = observer or NoMetrics()
        self.settings = settings
        self._key = key
        self._wall = wall
        self.clock = ApiClock(wall)
        self._schedule = Schedule(settings, wall)
        self._kinds = KindGate(_tell_closed, _tell_open)
        self.lanes: dict[LaneName, Lane] = {}
        self.triggers: TriggerFollower | None = None
        self.transport = HttpTransport(
            base_url,
            key,
            timeout=settings.timeout,
            keep_alive=settings.keep_alive,
            connections=len(LANES) * settings.concurrency + SPARE_CONNECTIONS,
            proxy=proxy_for(base_url, settings.proxy),
        )
        self.start = self.transport.start
        self._rates = _rates_of(settings)
        self._guards: dict[LaneName, Guard] = {"send": Guard.careful(), "app": Guard.careful()}
        factory: PacerFactory = pacers or LocalPacers()
        self.pacers = {
            lane: factory.pacer(
                lane, rate, guard=self._guards.get(lane), demand=lambda lane=lane: self._demand(lane),  # type: ignore[misc]
                joins=joins and rate == _rates_of(DEFAULTS)[lane],
            )
            for lane, rate in self._rates.items()
        }
        self.reader = ApiReader(self.transport, self.pacers["app"], self.clock)

    @property
    def key_version(self) -> int:
        """Changes whenever another key is in use."""
        return self._key.version

    def reload_key(self) -> bool:
        """Read the key's file again; whether the key has changed."""
        return self._key.reload()

    async def open_lanes(self, ledger: Ledger, listener: LaneListener) -> None:
        """Make the lanes, and take up the triggers that earlier runs left waiting at the API."""
        settings = self.settings
        self._schedule.open(ledger)
        context = LaneContext(
            self, ledger, _policy_of(settings), listener, kinds=self._kinds, observer=self.observer, wall=self._wall,
            clock=self.clock, schedule=self._schedule if self._schedule.limits else None,
        )
        self.triggers = TriggerFollower(
            self.reader, ledger, listener.record, limit=settings.trigger_queue, lag=settings.reconcile_lag,
            saved=await ledger.get_note(NOTE),
        )
        for name in LANES:
            self.lanes[name] = Lane(
                name,
                context,
                self.pacers[name],
                JobQueue(MOST_JOBS, settings.memory // len(LANES)),
                guard=self._guards.get(name),
                triggers=self.triggers if name == "trigger" else None,
                concurrency=settings.concurrency,
            )

    def set_rates(self, settings: Settings) -> None:
        """Change the limits that differ; the replicas of a shared state all follow."""
        rates = _rates_of(settings)
        for name in LANES:
            if self._rates[name] != rates[name]:
                self.pacers[name].set_rate(rates[name])
                self.lanes[name].breaker.rate = self.pacers[name].rate
        self._rates = rates

    async def pause(self, *, paused: bool) -> None:
        """Start nothing further in any replica, or go on."""
        for pacer in self.pacers.values():
            await (pacer.pause() if paused else pacer.resume())

    async def warm(self) -> None:
        """Open connections ahead of the first jobs."""
        await self.transport.warm(min(MOST_WARM, self.settings.concurrency))

    async def probe(self) -> str | None:
        """See `Api.probe`: one GET, past whatever else waits for the app lane."""
        try:
            reply = await self.reader.probe(WORKSPACES, PROBE_TIMEOUT)
        except TransportFault as fault:
            return fault.message
        except TimeoutError:
            return f"a GET had no answer within {PROBE_TIMEOUT:g} s"
        return None if reply.status < 500 else f"a GET was answered {reply.status}"

    def figures(self, name: LaneName) -> LaneFigures:
        """What a lane did."""
        pacer = self.pacers[name]
        span = (pacer.last_written or 0.0) - (pacer.first_written or 0.0)
        rate = (pacer.requests - 1) / span if span > 0 else float(pacer.requests)
        return LaneFigures(pacer.requests, rate, pacer.most_in_window, self.lanes[name].http_429)

    @property
    def closed_kinds(self) -> dict[str, str]:
        """Kinds that the API does not take, and what it said."""
        return self._kinds.closed

    @property
    def shut_kinds(self) -> dict[str, str]:
        """Those of them of which not even one job is tried now."""
        return self._kinds.shut

    def try_closed_kinds(self) -> None:
        """Have one job of each closed kind tried again."""
        self._kinds.let_one_through()

    @property
    def paused(self) -> bool:
        """Whether an operator paused the lanes, as far as is known."""
        return any(pacer.paused for pacer in self.pacers.values())

    async def look(self) -> None:
        """Learn whether an operator paused the lanes at another replica."""
        await self.pacers["send"].look()

    def _demand(self, name: LaneName) -> Demand:
        """What a shared pacer reserves for: jobs, and our own reading in the app lane."""
        lane = self.lanes.get(name)
        high, normal, low = lane.demand if lane is not None else (0, 0, 0)
        return high, normal + (self.reader.waiting if name == "app" else 0), low


def _tell_closed(kind: str, said: str) -> None:
    log.error("the API takes no jobs of this kind; the others go on", kind=kind, because=said)


def _tell_open(kind: str) -> None:
    log.info("the API takes jobs of this kind again", kind=kind)


def _rates_of(settings: Settings) -> dict[LaneName, float]:
    return {"send": settings.rate, "trigger": settings.rate_trigger, "app": settings.rate_app}


def _policy_of(settings: Settings) -> Policy:
    return Policy(
        settings.max_attempts,
        settings.max_wait,
        settings.max_outage,
        in_doubt="resend" if settings.in_doubt == "resend" else "hold",
        log_bodies=settings.log_bodies,
        rules=Rules(frozenset(settings.safe_statuses), frozenset(settings.ambiguous_statuses)),
        backoff=Backoff(settings.backoff, settings.backoff_cap),
    )
