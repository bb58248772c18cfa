"""One run of `sender consume`, from its plan to its exit status.

See docs/queues-and-state.md, "What happens to a message".
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from sender.config.live import LiveSettings
from sender.consume.acknowledger import Acknowledger
from sender.consume.operator import Orders
from sender.consume.reader import Reader
from sender.consume.requeue import BackgroundTasks, end_all, give_back
from sender.consume.requeue_counts import StoredRequeueCounts
from sender.consume.sinks import open_sink
from sender.consume.workspace_consumer import WorkspaceConsumer, is_lost, known_loss, note_loss
from sender.engine.workspace import Workspace
from sender.errors import FaultError, StateLost, UsageError
from sender.jobs.kinds import LANES
from sender.queues import QueueError
from sender.queues.queue_url import open_publisher, open_queue
from sender.runtime.conditions import Conditions
from sender.runtime.metrics import NoMetrics
from sender.runtime.tracing import open_tracer
from sender.session.stores import open_ledger, open_shared
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from sender.config.settings import Settings
    from sender.consume.consume_plan import ConsumePlan, WorkspaceConfig
    from sender.consume.unacked import UnackedMessage
    from sender.ledger import Ledger
    from sender.outcomes.recorder import FinishedJob
    from sender.queues import Queue
    from sender.runtime.metrics.replica_metrics import ReplicaMetrics
    from sender.shared_state.shared_state import SharedState

STATE: Final = "state"
WORKING: Final = "working"
LOOK_EVERY: Final = 0.5
GIVE_BACK_WITHIN: Final = 3.0
LET_GO_WITHIN: Final = 3.0
"""Seconds in which what is let go of has to end; then it is cut off."""
RETURN_AFTER: Final = 25.0
"""Seconds after which a dead replica's messages are another's: within 30 s.

See docs/queues-and-state.md, "What happens to a message".
"""
SLACK: Final = 0.5
"""Seconds by which a message may seem to have been given out earlier than it was."""
AWAY_LIMIT: Final = 3.0
"""Seconds without the shared state after which messages go back to their queues."""
AGAIN_AFTER: Final = 1.0

log = structlog.get_logger()


@dataclass(slots=True)
class RejoinState:
    """What a consumer leaves to the one that takes its place after the state was lost, by workspace."""

    births: dict[str | None, float] = field(default_factory=dict)
    """When the state began, as this process saw it last."""
    unrecorded: dict[str | None, list[FinishedJob]] = field(default_factory=dict)


async def consume(plan: ConsumePlan) -> int:
    """Consume until a signal: 0 after a clean drain, 3 when nothing can run any more."""
    legacy = RejoinState()
    with Orders() as orders:
        while True:
            status = await _consume_once(plan, orders, legacy)
            if status is not None:
                return status


async def _consume_once(plan: ConsumePlan, orders: Orders, legacy: RejoinState) -> int | None:
    """One consumer from its opening to its end; None when another has to take its place."""
    first = not legacy.births
    status: int | None = None
    try:
        async with AsyncExitStack() as stack:
            stack.callback(orders.give_to, None)
            status = await Consumer(plan, orders, legacy).run(stack)
    except UsageError as error:
        if first:
            raise
        log.warning("the consumer cannot be opened anew yet", error=str(error))
    except StateLost as error:
        log.warning("the shared state was lost while the consumer was opened", error=str(error))
    if status is None and orders.signals:
        return 0
    if status is None:
        log.warning("the shared state is joined anew")
        with suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_AFTER):
                await orders.draining.wait()
    return status


class Consumer:
    """The parts of one consumer and how they are wired."""

    def __init__(self, plan: ConsumePlan, orders: Orders, legacy: RejoinState) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._orders = orders
        self._legacy = legacy
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._hurry = asyncio.Event()
        self._clean = True
        self._holding = asyncio.Lock()
        self._background = BackgroundTasks()
        self._live = LiveSettings(plan.settings, plan.read_settings, self._apply, plan.config or None)
        self._conditions = Conditions(WORKING)
        self._consumers: dict[str | None, WorkspaceConsumer] = {}
        self._states: list[SharedState] = []
        self._begun: dict[str | None, float] = {}
        """Loop time at which the memory of a workspace began, where that is known."""
        self._readers: list[Reader] = []

    async def run(self, stack: AsyncExitStack) -> int | None:
        """From opening to the end; None when the shared state was lost and all has to begin anew."""
        metrics = await self._open_health(stack)
        acknowledger = await self._open_closer(stack)
        await self._open_stations(stack, acknowledger, metrics)
        queues = [self._open_queue(url, stack) for url in self._plan.urls]
        self._open_readers(queues, acknowledger)
        self._watch(metrics)
        if self._settings.paused:
            self.pause(True)
        self._orders.give_to(self)
        if not self._ended.is_set():
            self._conditions.meet(WORKING)
            log.info("consuming", queues=[queue.source for queue in queues])
        return await self._work(acknowledger)

    def drain(self, *, now: bool) -> None:
        """Stop reading and end; or let go of everything at once."""
        self._conditions.miss(WORKING, "draining")
        self._ended.set()
        if now:
            self._clean = False
            self._hurry.set()

    def look(self) -> None:
        """Read the configuration again."""
        self._live.look()

    def pause(self, paused: bool) -> None:
        """Start nothing further in any replica, or go on."""
        self._background.start(self._hold(paused), "pause" if paused else "resume")

    async def _work(self, acknowledger: Acknowledger) -> int | None:
        beside = [
            self._start(work)
            for work in (
                acknowledger.run(),
                self._look_at_state(),
                self._live.follow(),
                *(one.keep() for one in self._readers),
            )
        ]
        consumers = [self._start(workspace_consumer.run()) for workspace_consumer in self._consumers.values()]
        readers = [self._start(reader.run()) for reader in self._readers]
        try:
            await self._ended.wait()
            self._conditions.miss(WORKING, "draining")
            for reader in self._readers:
                reader.stop()
            await self._end(readers, LET_GO_WITHIN)
            await self._end_stations(consumers)
            await self._finish(acknowledger)
        finally:
            await end_all((*beside, *consumers, *readers))
            await self._background.cancel()
        return self._status()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Work for the whole time: if it breaks, the consumer ends, and says why."""
        task = self._loop.create_task(work)
        task.add_done_callback(self._look_at_end)
        return task

    def _look_at_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error(str(FaultError(error)))
        self._clean = False
        self._ended.set()

    async def _end_stations(self, tasks: list[asyncio.Task[None]]) -> None:
        """What is in hand ends within the grace; then it is let go of, and what cannot even do that is cut off."""
        for workspace_consumer in self._consumers.values():
            workspace_consumer.stop(now=False)
        hurry = self._loop.create_task(self._hurry.wait())
        ending = self._loop.create_task(asyncio.wait(tasks))
        await asyncio.wait({hurry, ending}, timeout=self._settings.grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        ending.cancel()
        if not all(task.done() for task in tasks):
            log.warning("what is still in hand is let go of")
            for workspace_consumer in self._consumers.values():
                workspace_consumer.stop(now=True)
        await self._end(tasks, LET_GO_WITHIN)

    async def _end(self, tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        if late:
            self._clean = False
            await end_all(late)

    async def _finish(self, acknowledger: Acknowledger) -> None:
        """Acknowledge what is done, give back what was not started."""
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                await acknowledger.drain()
        except TimeoutError:
            log.warning("a broker does not answer; what was done will come again, and be known")
        left = [
            one for workspace_consumer in self._consumers.values() for one in _returning(workspace_consumer)
        ] + acknowledger.holdings
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                await give_back(left)
        except TimeoutError:
            log.warning("messages could not be given back in time; they return by themselves", messages=len(left))
        log.info("drained", given_back=len(left))

    def _status(self) -> int | None:
        halted = [
            workspace_consumer.halted
            for workspace_consumer in self._consumers.values()
            if workspace_consumer.halted is not None
        ]
        if any(is_lost(error) for error in halted) and not self._orders.signals:
            self._legacy.unrecorded |= {name: one.unrecorded for name, one in self._consumers.items()}
            return None
        return 3 if len(halted) == len(self._consumers) or not self._clean else 0

    async def _open_closer(self, stack: AsyncExitStack) -> Acknowledger:
        if not self._plan.dead_letter:
            log.warning("no --dead-letter: jobs that are refused, given up or in doubt are in the outcomes alone")
            return Acknowledger(None)
        publisher = open_publisher(self._plan.dead_letter)
        stack.push_async_callback(publisher.aclose)
        try:
            await publisher.open()
        except QueueError as error:
            raise UsageError(f"--dead-letter cannot be used: {error}") from None
        return Acknowledger(publisher)

    async def _open_stations(
        self, stack: AsyncExitStack, acknowledger: Acknowledger, metrics: ReplicaMetrics | None
    ) -> None:
        tracer = open_tracer()
        stack.push_async_callback(tracer.aclose)
        sink = await open_sink(self._plan.outcomes, stack)
        for home in self._plan.homes:
            ledger, state = await self._open_memory(home, stack)
            observer = NoMetrics() if metrics is None else metrics.of(home.name)
            workspace = Workspace(home.base_url, home.key, self._settings, time.time, pacers=state, observer=observer)
            stack.push_async_callback(workspace.transport.aclose)
            condition = f"workspace {home.name or 'default'}"
            lost_at = None if state is None else await self._lost_at(home.name, state)
            workspace_consumer = WorkspaceConsumer(
                home.name, workspace, ledger, sink, self._settings, acknowledger, observer, tracer,
                self._halting(home.name, condition), away=partial(_is_away, state), lost_at=lost_at,
            )
            self._consumers[home.name] = workspace_consumer
            await workspace_consumer.open(home.base_url)
            workspace_consumer.record_late(self._legacy.unrecorded.pop(home.name, []))
            self._conditions.meet(condition)

    async def _lost_at(self, name: str | None, state: SharedState) -> float | None:
        """Unix time at which this workspace's state was seen to be lost; all replicas are told."""
        before = self._legacy.births.get(name)
        self._legacy.births[name] = born = state.ledger.born
        if before is not None and before != born:
            now = time.time()
            await note_loss(state.ledger, now)
            return now
        return await known_loss(state.ledger)

    async def _open_memory(self, home: WorkspaceConfig, stack: AsyncExitStack) -> tuple[Ledger, SharedState | None]:
        if home.ledger is not None:
            ledger = await open_ledger(home.ledger, home.base_url, self._settings, stack)
            if ledger.run == 1:
                self._begun[home.name] = self._loop.time()
            return ledger, None
        state = await open_shared(
            self._plan.state, home.base_url, self._settings, stack, workspace=home.name,
            on_lost=lambda error: self._consumers[home.name].halt(error) if home.name in self._consumers else None,
        )
        self._states.append(state)
        self._begun[home.name] = self._loop.time() - await state.age()
        return state.ledger, state

    def _open_queue(self, url: str, stack: AsyncExitStack) -> Queue:
        """SQS keeps no count of what was given back: the first workspace's memory does."""
        kept = StoredRequeueCounts(next(iter(self._consumers.values())).ledger) if url.startswith("sqs:") else None
        queue = open_queue(url, in_hand=self._settings.prefetch, return_after=RETURN_AFTER, requeue_counts=kept)
        stack.push_async_callback(queue.aclose)
        return queue

    def _open_readers(self, queues: Sequence[Queue], acknowledger: Acknowledger) -> None:
        settings = self._settings
        options = Options(settings.require_identifiers, frozenset(settings.risky_extensions))
        parser = Parser(settings.kind, options, frozenset(name for name in self._consumers if name is not None))
        for queue in queues:
            self._conditions.miss(f"queue {queue.source}", "not yet read")
            self._readers.append(
                Reader(queue, self._consumers, parser, settings, acknowledger, self._conditions, self._look_back)
            )

    async def _look_back(self, queue: Queue) -> None:
        """A memory that is younger than what the queue gave out knows nothing of it: it was lost, or is another."""
        for name, begun in self._begun.items():
            if await queue.left_since(self._loop.time() - begun + SLACK):
                await self._consumers[name].note_loss()

    async def _open_health(self, stack: AsyncExitStack) -> ReplicaMetrics | None:
        port = self._settings.health_port
        if not port:
            return None
        from sender.runtime.health_server import HealthServer
        from sender.runtime.metrics.replica_metrics import ReplicaMetrics

        metrics = ReplicaMetrics()
        server = await HealthServer.open(self._conditions, port, self._settings.health_host, metrics=metrics)
        stack.push_async_callback(server.aclose)
        return metrics

    def _watch(self, metrics: ReplicaMetrics | None) -> None:
        """Tell the metrics where to look."""
        if metrics is None:
            return
        for workspace_consumer in self._consumers.values():
            watching = metrics.of(workspace_consumer.name)
            for name in LANES:
                watching.watch_lane(name, workspace_consumer.workspace.lanes[name])
            watching.watch_ledger(workspace_consumer.ledger)
        for reader in self._readers:
            metrics.watch_queue(reader.queue.source, partial(getattr, reader, "lag"))
        metrics.conditions = self._conditions.met
        metrics.in_hand = lambda: sum(
            len(workspace_consumer.holdings) for workspace_consumer in self._consumers.values()
        )
        if self._states:
            metrics.state = lambda: all(state.reachable for state in self._states)

    def _halting(self, name: str | None, condition: str) -> Callable[[], None]:
        def halted() -> None:
            self._conditions.miss(condition, "halted; see the log")
            lost = name in self._consumers and is_lost(self._consumers[name].halted)
            if lost or all(workspace_consumer.halted is not None for workspace_consumer in self._consumers.values()):
                self._ended.set()

        return halted

    async def _look_at_state(self) -> None:
        while True:
            if self._states:
                away = any(not state.reachable for state in self._states)
                self._tell(STATE, "the shared state does not answer" if away else None)
            for name, workspace_consumer in self._consumers.items():
                kinds = ", ".join(sorted(workspace_consumer.workspace.closed_kinds))
                self._tell(f"kinds of {name or 'default'}", f"the API does not allow {kinds}" if kinds else None)
            await asyncio.sleep(LOOK_EVERY)

    def _tell(self, condition: str, reason: str | None) -> None:
        if reason is None:
            self._conditions.meet(condition)
        else:
            self._conditions.miss(condition, reason)

    def _apply(self, settings: Settings, changed: frozenset[str]) -> None:
        """Settings that changed in the file: rates, and whether to pause."""
        for workspace_consumer in self._consumers.values():
            workspace_consumer.workspace.set_rates(settings)
        if "paused" in changed:
            self.pause(settings.paused)

    async def _hold(self, held: bool) -> None:
        async with self._holding:  # one after another, so that the last word holds
            for workspace_consumer in self._consumers.values():
                await workspace_consumer.workspace.pause(paused=held)
        log.info("paused" if held else "resumed")


def _returning(workspace_consumer: WorkspaceConsumer) -> list[UnackedMessage]:
    """Messages that another may have as if they had not been read."""
    return workspace_consumer.unstarted() if is_lost(workspace_consumer.halted) else list(workspace_consumer.holdings)


def _is_away(state: SharedState | None) -> bool:
    since = None if state is None else state.away_since
    return since is not None and asyncio.get_running_loop().time() - since > AWAY_LIMIT
