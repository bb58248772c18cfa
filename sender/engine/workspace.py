"""A Workspace of the API at work: one key, one wire, one set of limits, and the three lanes that keep them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sender.config.settings import DEFAULTS
from sender.engine.api_reader import ApiReader
from sender.engine.backoff import Backoff
from sender.engine.breaker import Breaker
from sender.engine.job_queue import JobQueue
from sender.engine.lane import Lane
from sender.engine.lane_context import LaneContext, Policy
from sender.engine.preflight import WORKSPACES
from sender.engine.trigger_follower import NOTE, TriggerFollower
from sender.jobs.kinds import LANES
from sender.outcomes.summary import LaneFigures
from sender.pacing.guard import Guard
from sender.pacing.pacer import Pacer
from sender.runtime.metrics import NoMetrics
from sender.transport import TransportFault
from sender.transport.http_transport import HttpTransport
from sender.transport.verdict import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.config.api_key import ApiKey
    from sender.config.settings import Settings
    from sender.engine.identities import Identities
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import OnEnd, RecordFn
    from sender.errors import HaltError
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord, Ledger
    from sender.pacing.pacer import Pace
    from sender.runtime.metrics import Observer
    from sender.shared_state.shared_state import SharedState

MOST_JOBS: Final = 2000
"""Jobs that wait in a lane's memory, whatever their size."""
SPARE_CONNECTIONS: Final = 16
MOST_WARM: Final = 20
PROBE_TIMEOUT: Final = 5.0


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
        state: SharedState | None = None,
        joins: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer or NoMetrics()
        self._settings = settings
        self._key = key
        self._wall = wall
        self.lanes: dict[LaneName, Lane] = {}
        self.triggers: TriggerFollower | None = None
        self.transport = HttpTransport(
            base_url,
            key,
            timeout=settings.timeout,
            keep_alive=settings.keep_alive,
            connections=len(LANES) * settings.concurrency + SPARE_CONNECTIONS,
        )
        self._state = state
        self._joins = joins
        self._rates = _rates_of(settings)
        self._guards: dict[LaneName, Guard] = {"send": Guard(), "app": Guard()}
        self.pacers = {lane: self._pacer(lane, self._rates[lane], state) for lane in LANES}
        self.reader = ApiReader(self.transport, self.pacers["app"])

    def _pacer(self, lane: LaneName, rate: float, state: SharedState | None) -> Pace:
        guard = self._guards.get(lane)
        if state is None:
            return Pacer(rate, guard=guard)
        joins = self._joins and rate == _rates_of(DEFAULTS)[lane]
        return state.pacer(lane, rate, guard=guard, demand=lambda: self._demand(lane), joins=joins)

    def _demand(self, name: LaneName) -> tuple[int, int, int]:
        """What a shared pacer reserves for: jobs, and our own reading in the app lane."""
        lane = self.lanes.get(name)
        high, normal, low = lane.demand if lane is not None else (0, 0, 0)
        return high, normal + (self.reader.waiting if name == "app" else 0), low

    async def open_lanes(
        self,
        ledger: Ledger,
        identities: Identities,
        record: RecordFn,
        *,
        halt: Callable[[HaltError], None],
        on_end: OnEnd,
        on_refused: Callable[[JobExecution, JobRecord], None],
    ) -> LaneContext:
        """Make the lanes, which share the desk that is returned."""
        await self.open_triggers(ledger, record)
        settings = self._settings
        policy = Policy(settings.max_attempts, settings.max_wait, settings.max_outage, log_bodies=settings.log_bodies)
        if settings.in_doubt == "resend":
            policy = replace(policy, in_doubt="resend")
        context = LaneContext(
            transport=self.transport,
            ledger=ledger,
            identities=identities,
            record=record,
            rules=Rules(frozenset(settings.safe_statuses), frozenset(settings.ambiguous_statuses)),
            backoff=Backoff(settings.backoff, settings.backoff_cap),
            policy=policy,
            halt=halt,
            probe=self.probe,
            key=self._key,
            on_end=on_end,
            on_refused=on_refused,
            observer=self._observer,
            wall=self._wall,
        )
        for name in LANES:
            self.lanes[name] = self.new_lane(name, context)
        return context

    async def open_triggers(self, ledger: Ledger, record: RecordFn) -> None:
        """Take up the triggers that earlier runs left waiting at the API."""
        settings = self._settings
        self.triggers = TriggerFollower(
            self.reader, ledger, record, limit=settings.trigger_queue, lag=settings.reconcile_lag, wall=self._wall,
            saved=await ledger.get_note(NOTE),
        )

    def new_lane(self, name: LaneName, context: LaneContext) -> Lane:
        """A lane under the workspace's limits, at the beginning of its work."""
        settings = self._settings
        return Lane(
            name,
            context,
            self.pacers[name],
            JobQueue(MOST_JOBS, settings.memory // len(LANES)),
            Breaker(self.pacers[name].rate),
            guard=self._guards.get(name),
            triggers=self.triggers if name == "trigger" else None,
            concurrency=settings.concurrency,
        )

    async def follow_triggers(self) -> None:
        """Ask for the triggers that wait whenever no other may be started for them; until cancelled."""
        if self.triggers is not None:
            await self.triggers.follow()

    def set_rates(self, settings: Settings) -> None:
        """Change the limits that differ; the replicas of a shared state all follow."""
        rates = _rates_of(settings)
        for name in LANES:
            if self._rates[name] != rates[name]:
                self.pacers[name].set_rate(rates[name])
                self.lanes[name].breaker.rate = self.pacers[name].rate
        self._rates = rates

    async def hold(self, *, held: bool) -> None:
        """Start nothing further in any replica, or go on."""
        for name in LANES:
            pacer = self.pacers[name]
            if isinstance(pacer, Pacer):
                pacer.hold(held)
            elif self._state is not None:
                await (self._state.pause(name) if held else self._state.resume(name))

    async def warm(self) -> None:
        """Open connections ahead of the first jobs."""
        await self.transport.warm(min(MOST_WARM, self._settings.concurrency))

    async def probe(self) -> bool:
        """Whether the API answers at all."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                reply = await self.reader.get(WORKSPACES)
        except (TransportFault, TimeoutError):
            return False
        return reply.status < 500

    def figures(self, name: LaneName) -> LaneFigures:
        """What a lane did."""
        pacer = self.pacers[name]
        span = (pacer.last_written or 0.0) - (pacer.first_written or 0.0)
        rate = (pacer.requests - 1) / span if span > 0 else float(pacer.requests)
        return LaneFigures(pacer.requests, rate, pacer.most_in_window, self.lanes[name].http_429)

    def halted_kinds(self) -> set[str]:
        """Kinds that the API does not allow."""
        return {kind for lane in self.lanes.values() for kind in lane.halted_kinds}


def _rates_of(settings: Settings) -> dict[LaneName, float]:
    return {"send": settings.rate, "trigger": settings.rate_trigger, "app": settings.rate_app}
