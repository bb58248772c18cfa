"""One run of `sender consume`, from its plan to its exit status (CONTRACT section 7)."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.closer import Closer
from sender.consume.holdings import Holdings
from sender.consume.reader import Reader
from sender.consume.sinks import open_sink
from sender.consume.station import Station, is_lost
from sender.errors import SenderError, UsageError
from sender.health import Conditions, HealthServer
from sender.kinds import LANES
from sender.live import LiveSettings, OperatorSignals
from sender.memory import open_ledger, open_shared
from sender.metrics import NoMetrics
from sender.metrics.figures import Figures
from sender.parsing import Parser
from sender.queues import QueueError
from sender.queues.urls import open_publisher, open_queue
from sender.tracing import open_tracer
from sender.validation import Options
from sender.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.consume.plan import ConsumePlan, Home
    from sender.ledger import Ledger
    from sender.metrics import Observer
    from sender.queues import Queue
    from sender.settings import Settings
    from sender.state.shared import SharedState

STATE: Final = "state"
WORKING: Final = "working"
LOST: Final = "lost"
LOOK_EVERY: Final = 0.5
GIVE_BACK_WITHIN: Final = 3.0

log = structlog.get_logger()


async def consume(plan: ConsumePlan) -> int:
    """Consume until a signal: 0 after a clean drain, 3 when nothing can run any more."""
    lost_at: float | None = None
    while True:
        async with AsyncExitStack() as stack:
            consumer = Consumer(plan, lost_at)
            status = await consumer.run(stack)
        if status is not None:
            return status
        lost_at = time.time()
        log.warning("the shared state was lost and is joined anew; redelivered messages without a record are in doubt")


class Consumer:
    """The parts of one consumer and how they are wired."""

    def __init__(self, plan: ConsumePlan, lost_at: float | None) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._lost_at = lost_at
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._signals = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._live = LiveSettings(plan.settings, plan.read_settings, self._apply, plan.config or None)
        self._holdings = Holdings()
        self._conditions = Conditions(WORKING)
        self._stations: dict[str | None, Station] = {}
        self._states: list[SharedState] = []
        self._readers: list[Reader] = []

    async def run(self, stack: AsyncExitStack) -> int | None:
        """From opening to the end; None when the shared state was lost and all has to begin anew."""
        observer = await self._open_health(stack)
        self._catch_signals(stack)
        closer = await self._open_closer(stack)
        await self._open_stations(stack, closer, observer)
        queues = [open_queue(url, in_hand=self._settings.prefetch) for url in self._plan.urls]
        for queue in queues:
            stack.push_async_callback(queue.aclose)
        self._open_readers(queues)
        self._watch(observer)
        if not self._ended.is_set():
            self._conditions.meet(WORKING)
            log.info("consuming", queues=[queue.source for queue in queues])
        return await self._work(closer)

    async def _work(self, closer: Closer) -> int | None:
        beside = [asyncio.create_task(work) for work in (closer.run(), self._look_at_state(), self._live.follow())]
        if self._settings.paused:
            self._pause(True)
        stations = [asyncio.create_task(station.run()) for station in self._stations.values()]
        readers = [asyncio.create_task(reader.run()) for reader in self._readers]
        try:
            await self._ended.wait()
            self._conditions.miss(WORKING, "draining")
            for reader in self._readers:
                reader.stop()
            await asyncio.gather(*readers)
            for station in self._stations.values():
                station.stop(now=self._signals > 1)
            self._loop.call_later(self._settings.grace, self._let_go)
            await asyncio.gather(*stations)
            await self._finish(closer)
        finally:
            for task in (*beside, *stations, *readers):
                task.cancel()
            await asyncio.gather(*beside, *stations, *readers, return_exceptions=True)
        return self._status()

    async def _finish(self, closer: Closer) -> None:
        """Acknowledge what is done, give back what was not started."""
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                await closer.drain()
        except TimeoutError:
            log.warning("a broker does not answer; what was done will come again, and be known")
        left = list(self._holdings)
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                for queue in {holding.queue for holding in left}:
                    await queue.give_back([one.message for one in left if one.queue is queue])
        except (TimeoutError, SenderError) as error:
            log.warning("messages could not be given back; they return by themselves", error=str(error))
        log.info("drained", given_back=len(left))

    def _status(self) -> int | None:
        halted = [station.halted for station in self._stations.values() if station.halted is not None]
        if any(is_lost(error) for error in halted) and not self._signals:
            return None
        return 3 if len(halted) == len(self._stations) else 0

    def _let_go(self) -> None:
        for station in self._stations.values():
            station.stop(now=True)

    async def _open_closer(self, stack: AsyncExitStack) -> Closer:
        if not self._plan.dead_letter:
            log.warning("no --dead-letter: jobs that are refused, given up or in doubt are in the outcomes alone")
            return Closer(None)
        publisher = open_publisher(self._plan.dead_letter)
        stack.push_async_callback(publisher.aclose)
        try:
            await publisher.open()
        except QueueError as error:
            raise UsageError(f"--dead-letter cannot be used: {error}") from None
        return Closer(publisher)

    async def _open_stations(self, stack: AsyncExitStack, closer: Closer, observer: Observer) -> None:
        tracer = open_tracer()
        stack.push_async_callback(tracer.aclose)
        sink = await open_sink(self._plan.outcomes, stack)
        for home in self._plan.homes:
            ledger, state = await self._open_memory(home, stack)
            mine = observer.of(home.name) if isinstance(observer, Figures) else observer
            workspace = Workspace(home.base_url, home.key, self._settings, time.time, state=state, observer=mine)
            stack.push_async_callback(workspace.transport.aclose)
            condition = f"workspace {home.name or 'default'}"
            station = Station(
                home.name, workspace, mine.timed(ledger), sink, self._settings, self._holdings, closer, mine,
                tracer, self._halting(condition),
            )  # fmt: skip
            self._stations[home.name] = station
            if state is not None and self._lost_at is not None:
                await state.ledger.put_note(LOST, repr(self._lost_at).encode())
            elif state is not None:
                known = await state.ledger.get_note(LOST)
                self._lost_at = float(known) if known else None
            await station.open(home.base_url)
            self._conditions.meet(condition)

    async def _open_memory(self, home: Home, stack: AsyncExitStack) -> tuple[Ledger, SharedState | None]:
        if home.ledger is not None:
            return await open_ledger(home.ledger, home.base_url, self._settings, stack), None
        state = await open_shared(
            self._plan.state, home.base_url, self._settings, stack, workspace=home.name,
            on_lost=lambda error: self._stations[home.name].halt(error) if home.name in self._stations else None,
        )  # fmt: skip
        self._states.append(state)
        return state.ledger, state

    def _open_readers(self, queues: Sequence[Queue]) -> None:
        settings = self._settings
        options = Options(settings.require_identifiers, frozenset(settings.risky_extensions))
        parser = Parser(settings.kind, options, frozenset(name for name in self._stations if name is not None))
        for queue in queues:
            self._conditions.miss(f"queue {queue.source}", "not yet read")
            self._readers.append(
                Reader(queue, self._stations, parser, settings, self._holdings, self._conditions, lost_at=self._lost_at)
            )

    async def _open_health(self, stack: AsyncExitStack) -> Observer:
        port = self._settings.health_port
        if not port:
            return NoMetrics()
        try:
            from sender.metrics.prometheus import Exposition
        except ModuleNotFoundError:
            raise UsageError("--health-port needs prometheus-client: pip install 'sender[metrics]'") from None

        figures = Figures()
        server = await HealthServer.open(
            self._conditions, port, self._settings.health_host, metrics=Exposition(figures)
        )
        stack.push_async_callback(server.aclose)
        return figures

    def _watch(self, observer: Observer) -> None:
        """Tell the metrics where to look."""
        if not isinstance(observer, Figures):
            return
        for station in self._stations.values():
            figures = observer.of(station.name)
            for name in LANES:
                figures.watch_lane(name, station.workspace.lanes[name])
            figures.watch_ledger(station.ledger)
        for reader in self._readers:
            observer.watch_queue(reader.queue.source, partial(getattr, reader, "lag"))
        observer.conditions = self._conditions.met
        observer.in_hand = lambda: len(self._holdings)
        if self._states:
            observer.state = lambda: all(state.reachable for state in self._states)

    def _halting(self, condition: str) -> Callable[[], None]:
        def halted() -> None:
            self._conditions.miss(condition, "halted; see the log")
            if all(station.halted is not None for station in self._stations.values()):
                self._ended.set()

        return halted

    async def _look_at_state(self) -> None:
        while self._states:
            away = [state for state in self._states if not state.reachable]
            if away:
                self._conditions.miss(STATE, "the shared state does not answer")
            else:
                self._conditions.meet(STATE)
            await asyncio.sleep(LOOK_EVERY)

    def _catch_signals(self, stack: AsyncExitStack) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._drain)
            stack.callback(self._loop.remove_signal_handler, number)
        stack.enter_context(OperatorSignals(self._live.look, self._pause))

    def _drain(self) -> None:
        """The first signal drains, the second lets go at once."""
        self._signals += 1
        self._conditions.miss(WORKING, "draining")
        self._ended.set()
        if self._signals > 1:
            self._let_go()

    def _apply(self, settings: Settings, changed: frozenset[str]) -> None:
        """Settings that changed in the file: rates, and whether to pause."""
        for station in self._stations.values():
            station.workspace.set_rates(settings)
        if "paused" in changed:
            self._pause(settings.paused)

    def _pause(self, paused: bool) -> None:
        task = self._loop.create_task(self._hold(paused))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hold(self, held: bool) -> None:
        for station in self._stations.values():
            await station.workspace.hold(held=held)
        log.info("paused" if held else "resumed")
