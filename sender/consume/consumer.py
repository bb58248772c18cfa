"""The Consumer: reads queues into workspaces until the end is asked for, then drains. What starts first ends last."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from anyio import create_task_group, current_time, move_on_after

from sender.config.live import LiveSettings
from sender.consume.background_tasks import BackgroundTasks
from sender.errors import HaltError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anyio import CancelScope

    from sender.config.settings import Settings
    from sender.consume.consume_plan import ConsumePlan
    from sender.consume.consumer_signals import ConsumerSignals
    from sender.consume.reader import Reader
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.outcomes.recorder import FinishedJob
    from sender.runtime.health import Conditions

WORKING: Final = "working"
"""The condition that a consumer neither opens nor drains."""
REQUEUE_WITHIN: Final = 3.0
"""Seconds for the last acknowledgements, and again for the last requeues."""
LET_GO_WITHIN: Final = 3.0
"""Seconds in which what is let go of has to end; then it is cut off."""

log = structlog.get_logger()


class Consumer:
    """Its parts are open already; it is the target of an operator's signals."""

    def __init__(
        self, plan: ConsumePlan, consumers: Mapping[str | None, WorkspaceConsumer], readers: Sequence[Reader],
        conditions: Conditions,
    ) -> None:
        self._settings = plan.settings
        self._consumers = consumers
        self._readers = readers
        self._conditions = conditions
        self._live = LiveSettings(plan.settings, plan.read_settings, self._apply, plan.config or None)
        self._ended = asyncio.Event()
        self._hurry = asyncio.Event()
        self._holds: asyncio.Queue[bool] = asyncio.Queue()
        self._clean = True
        for name, one in consumers.items():
            one.halt.listen(partial(self._workspace_halted, name))

    @property
    def state_lost(self) -> bool:
        """Whether a shared state was lost, so that all has to be joined anew."""
        return any(one.halt.state_lost for one in self._consumers.values())

    @property
    def status(self) -> int:
        """The exit status: 0 after a clean drain, 3 when nothing could run any more."""
        return 3 if self._all_halted or not self._clean else 0

    @property
    def unrecorded(self) -> dict[str | None, list[FinishedJob]]:
        """Ends that are not in the memory, by workspace."""
        return {name: one.unrecorded for name, one in self._consumers.items()}

    async def run(self, signals: ConsumerSignals) -> None:
        """Until the end is asked for, or nothing can run any more."""
        async with create_task_group() as group:
            self._start_beside(BackgroundTasks(group, self._fail))
            if self._settings.paused:
                self.pause(True)
            signals.give_to(self)
            if not self._ended.is_set():
                self._conditions.meet(WORKING)
                log.info("consuming", queues=[reader.queue.source for reader in self._readers])
            await self._run_workspaces()
            await self._finish()
            group.cancel_scope.cancel()

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
        self._holds.put_nowait(paused)

    def _start_beside(self, tasks: BackgroundTasks) -> None:
        tasks.start(self._live.follow, "live settings")
        tasks.keep(self._hold, "pauses")
        for one in self._consumers.values():
            BackgroundTasks(tasks.group, one.halt).keep(one.acknowledger.run, "acknowledgements")
        for reader in self._readers:
            tasks.keep(reader.keep, "keep")
            tasks.keep(reader.watch_lag, "lag")

    async def _run_workspaces(self) -> None:
        """What is in hand at the end has the grace; then it is let go of, and what cannot even do that is cut off."""
        async with create_task_group() as ending:
            async with create_task_group() as group:
                for name, one in self._consumers.items():
                    BackgroundTasks(group, self._fail).start(one.run, f"workspace {name or 'default'}")
                await self._read()
                for one in self._consumers.values():
                    one.stop(now=False)
                ending.start_soon(self._let_go, group.cancel_scope)
            ending.cancel_scope.cancel()
        self._clean = self._clean and not group.cancel_scope.cancel_called

    async def _read(self) -> None:
        async with create_task_group() as group:
            for reader in self._readers:
                BackgroundTasks(group, self._fail).start(reader.run, f"reader of {reader.queue.source}")
            await self._ended.wait()
            self._conditions.miss(WORKING, "draining")
            for reader in self._readers:
                reader.stop()
            group.cancel_scope.deadline = current_time() + LET_GO_WITHIN
        self._clean = self._clean and not group.cancel_scope.cancel_called

    async def _let_go(self, workspaces: CancelScope) -> None:
        with move_on_after(self._settings.grace):
            await self._hurry.wait()
        log.warning("what is still in hand is let go of")
        for one in self._consumers.values():
            one.stop(now=True)
        workspaces.deadline = current_time() + LET_GO_WITHIN

    async def _finish(self) -> None:
        """Acknowledge what is done, requeue what was not started."""
        with move_on_after(REQUEUE_WITHIN) as acking:
            for one in self._consumers.values():
                await one.acknowledger.drain()
        if acking.cancelled_caught:
            log.warning("a broker does not answer; what was done will come again, and be known")
        left = {one: one.take_rest() for one in self._consumers.values()}
        number = sum(map(len, left.values()))
        with move_on_after(REQUEUE_WITHIN) as requeueing:
            for one, messages in left.items():
                await one.acknowledger.requeue_now(messages)
        if requeueing.cancelled_caught:
            log.warning("messages could not be given back in time; they return by themselves", messages=number)
        log.info("drained", given_back=number)

    def _fail(self, error: HaltError) -> None:
        """A part that all workspaces need is missing: the consumer ends, and says why."""
        log.error(str(error))
        self._clean = False
        self._ended.set()

    def _workspace_halted(self, name: str | None, _: HaltError) -> None:
        self._conditions.miss(condition_of(name), "halted; see the log")
        if self.state_lost or self._all_halted:
            self._ended.set()

    @property
    def _all_halted(self) -> bool:
        return all(one.halt.error is not None for one in self._consumers.values())

    def _apply(self, settings: Settings, changed: frozenset[str]) -> None:
        """Settings that changed in the file: rates, and whether to pause."""
        for one in self._consumers.values():
            one.workspace.set_rates(settings)
        if "paused" in changed:
            self.pause(settings.paused)

    async def _hold(self) -> None:
        """Pause and resume, one after another, so that the last word holds."""
        while True:
            held = await self._holds.get()
            try:
                for one in self._consumers.values():
                    await one.workspace.hold(held=held)
                log.info("paused" if held else "resumed")
            except HaltError as error:
                log.warning("the lanes could not be paused or resumed everywhere", error=str(error))


def condition_of(workspace: str | None) -> str:
    """The name of the condition that a workspace has not halted."""
    return f"workspace {workspace or 'default'}"
