"""The Consumer reads queues into workspaces until the end is asked for, or nothing can run any more; then it drains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from anyio import move_on_after

from sender.config.live import LiveSettings
from sender.errors import HaltError
from sender.runtime.supervisor import Supervisor
from sender.runtime.tasks import end, unless

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sender.config.settings import Settings
    from sender.consume.consume_plan import ConsumePlan
    from sender.consume.consumer_signals import ConsumerSignals
    from sender.consume.reader import Reader
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.outcomes.recorder import FinishedJob
    from sender.runtime.conditions import Conditions

WORKING: Final = "working"
"""The condition that a consumer neither opens nor drains."""
REQUEUE_WITHIN: Final = 3.0
"""Seconds for the last acknowledgements, and again for the last requeues."""
LET_GO_WITHIN: Final = 3.0
"""Seconds in which what is let go of has to end; then it is cut off."""

log = structlog.get_logger()


class Consumer:
    """Made of open parts; it is the target of an operator's signals."""

    def __init__(
        self, plan: ConsumePlan, consumers: Mapping[str | None, WorkspaceConsumer], readers: Sequence[Reader],
        conditions: Conditions,
    ) -> None:
        self._settings = plan.settings
        self._consumers = consumers
        self._readers = readers
        self._conditions = conditions
        self._live = LiveSettings(plan.settings, plan.read_settings, self._apply, plan.config or None)
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._pauses: asyncio.Queue[bool] = asyncio.Queue()
        self._clean = True

    @property
    def state_lost(self) -> bool:
        """Whether a shared state was lost, so that all has to be joined anew."""
        return any(one.state_lost for one in self._consumers.values())

    @property
    def unrecorded(self) -> dict[str | None, list[FinishedJob]]:
        """Ends that are not in the memory, by workspace."""
        return {name: one.unrecorded for name, one in self._consumers.items()}

    @property
    def status(self) -> int:
        """The exit status: 0 after a clean drain, 3 when nothing could run any more."""
        return 3 if self._all_halted or not self._clean else 0

    async def run(self, signals: ConsumerSignals) -> None:
        """From the first read to the last acknowledgement."""
        async with Supervisor() as supervisor:
            supervisor.on_failure(self._fail)
            running = [one.session.supervise(one.run(), "workspace", ends=True) for one in self._consumers.values()]
            reading = [supervisor.start(reader.run(), "reader", ends=True) for reader in self._readers]
            self._start_beside(supervisor)
            if self._settings.paused:
                self.pause(True)
            signals.give_to(self)
            if not self._ending.is_set():
                self._conditions.meet(WORKING)
                log.info("consuming", queues=[reader.queue.source for reader in self._readers])
            await self._ending.wait()
            self._conditions.miss(WORKING, "draining")
            for reader in self._readers:
                reader.stop()
            await self._end(reading)
            await self._end_workspaces(running)
            await self._finish()

    def drain(self, *, now: bool) -> None:
        """Stop reading and end; or let go of everything at once."""
        self._conditions.miss(WORKING, "draining")
        self._ending.set()
        if now:
            self._clean = False
            self._hurry.set()

    def look(self) -> None:
        """Read the configuration again."""
        self._live.look()

    def pause(self, paused: bool) -> None:
        """Start nothing further in any replica, or go on."""
        self._pauses.put_nowait(paused)

    def _start_beside(self, supervisor: Supervisor) -> None:
        supervisor.start(self._live.follow(), "live settings", ends=True)
        supervisor.start(self._pause_all(), "pauses")
        for one in self._consumers.values():
            supervisor.start(self._end_with(one), "halts", ends=True)
        for reader in self._readers:
            supervisor.start(reader.keep(), "keep")
            supervisor.start(reader.watch_lag(), "lag")

    async def _end_with(self, one: WorkspaceConsumer) -> None:
        """End when this workspace has halted and nothing else can run, or all has to be joined anew."""
        await one.ending.wait()
        if self.state_lost or self._all_halted:
            self._ending.set()

    async def _end_workspaces(self, running: Collection[asyncio.Task[None]]) -> None:
        """Requests under way end within the grace; then they are let go of, and what cannot do that is cut off."""
        for one in self._consumers.values():
            one.stop(now=False)
        with move_on_after(self._settings.grace):
            await unless(self._hurry, asyncio.wait(running))
        if not all(task.done() for task in running):
            log.warning("what is still in hand is let go of")
            for one in self._consumers.values():
                one.stop(now=True)
        await self._end(running)

    async def _end(self, tasks: Collection[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=LET_GO_WITHIN)
        if late:
            self._clean = False
            await end(late)

    async def _finish(self) -> None:
        """Acknowledge what is done, requeue what was not started."""
        with move_on_after(REQUEUE_WITHIN) as closing:
            for one in self._consumers.values():
                await one.in_flight.wait_closed()
        if closing.cancelled_caught:
            log.warning("a broker does not answer; what was done will come again, and be known")
        left = {one.acknowledger: one.take_rest() for one in self._consumers.values()}
        number = sum(map(len, left.values()))
        with move_on_after(REQUEUE_WITHIN) as requeueing:
            for acknowledger, messages in left.items():
                await acknowledger.tell(messages, "requeue")
        if requeueing.cancelled_caught:
            log.warning("messages could not be given back in time; they return by themselves", messages=number)
        log.info("drained", given_back=number)

    def _fail(self, error: HaltError) -> None:
        """A part that all workspaces need is missing: the consumer ends, and says why."""
        log.error(str(error))
        self._clean = False
        self._ending.set()

    @property
    def _all_halted(self) -> bool:
        return all(one.session.halted is not None for one in self._consumers.values())

    def _apply(self, settings: Settings, changed: frozenset[str]) -> None:
        """Settings that changed in the file: rates, and whether to pause."""
        for one in self._consumers.values():
            one.session.workspace.set_rates(settings)
        if "paused" in changed:
            self.pause(settings.paused)

    async def _pause_all(self) -> None:
        """One after another, so that the last word holds."""
        while True:
            paused = await self._pauses.get()
            try:
                for one in self._consumers.values():
                    await one.session.workspace.pause(paused=paused)
                log.info("paused" if paused else "resumed")
            except HaltError as error:
                log.warning("the lanes could not be paused or resumed everywhere", error=str(error))
