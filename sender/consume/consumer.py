"""The Consumer reads queues into workspaces until the end is asked for; then it drains.

Whatever a workspace lacks, it waits for: only a signal ends a consumer, or a fault of a part that all of them need.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from anyio import move_on_after

from sender.errors import UsageError
from sender.runtime.tasks import end, start_told, unless

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sender.config.live import LiveSettings
    from sender.consume.consumer_signals import ConsumerSignals
    from sender.consume.reader import Reader
    from sender.consume.workspace_task import WorkspaceTask
    from sender.errors import HaltError
    from sender.runtime.conditions import Conditions
    from sender.runtime.supervisor import Supervisor

WORKING: Final = "working"
"""The condition that a consumer neither starts nor drains."""
CLOSE_WITHIN: Final = 6.0
"""Seconds for the last acknowledgements, dead letters and requeues."""
LET_GO_WITHIN: Final = 3.0
"""Seconds in which what is let go of has to end; then it is cut off."""

log = structlog.get_logger()


class Consumer:
    """Run once; it is the target of an operator's signals."""

    def __init__(
        self, workspaces: Mapping[str | None, WorkspaceTask], readers: Sequence[Reader], conditions: Conditions,
        live: LiveSettings, supervisor: Supervisor,
    ) -> None:
        self._workspaces = tuple(workspaces.values())
        self._readers = readers
        self._conditions = conditions
        self._live = live
        self._supervisor = supervisor
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._clean = True
        self._wrong: UsageError | None = None

    async def run(self, signals: ConsumerSignals) -> int:
        """From the first opening to the last acknowledgement; returns the exit status, 0 after a clean drain.

        UsageError for what no waiting mends.
        """
        self._supervisor.on_failure(self._fail)
        running = [start_told(one.run(), f"workspace {one.name}", self._stop_for) for one in self._workspaces]
        reading = [self._supervisor.start(reader.run(), "reader", ends=True) for reader in self._readers]
        self._start_beside()
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
        if self._wrong is not None:
            raise self._wrong
        return 0 if self._clean and all(one.clean for one in self._workspaces) else 3

    @property
    def draining(self) -> bool:
        """Whether the end was asked for."""
        return self._ending.is_set()

    def drain(self, *, now: bool) -> None:
        """Stop reading and end; or let go of everything at once."""
        self._conditions.miss(WORKING, "draining")
        self._ending.set()
        if now:
            self._clean = False
            self._hurry.set()

    def look(self) -> None:
        """Read the configuration and the keys again; what has halted is tried at once."""
        self._live.look()
        for one in self._workspaces:
            one.try_again()
            self._supervisor.start(one.look_at_key(), "key", ends=True)

    def pause(self, paused: bool) -> None:
        """Start nothing further in any replica, or go on."""
        for one in self._workspaces:
            one.pause.ask(paused)
            if not paused:
                one.try_again()

    def _start_beside(self) -> None:
        start = self._supervisor.start
        start(self._live.follow(), "live settings", ends=True)
        for one in self._workspaces:
            start(one.acknowledger.run(), "acknowledgements")
            start(one.follow_key(), "keys")
        for reader in self._readers:
            start(reader.keep(), "keep")
            start(reader.watch_lag(), "lag")

    async def _end_workspaces(self, running: Collection[asyncio.Task[None]]) -> None:
        """Requests under way end within the grace; then they are let go of, and what cannot do that is cut off."""
        for one in self._workspaces:
            one.stop(now=False)
        with move_on_after(self._live.settings.grace):
            await unless(self._hurry, asyncio.wait(running))
        if not all(task.done() for task in running):
            log.warning("what is still in hand is let go of")
            for one in self._workspaces:
                one.stop(now=True)
        await self._end(running)

    async def _end(self, tasks: Collection[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=LET_GO_WITHIN)
        if late:
            self._clean = False
            await end(late)

    async def _finish(self) -> None:
        """Until the brokers know what is done, and what goes back; the rest returns by itself, counted."""
        with move_on_after(CLOSE_WITHIN) as closing:
            for one in self._workspaces:
                await one.in_flight.wait_closed()
        if closing.cancelled_caught:
            log.warning("a broker does not answer; what it was not told comes again, and what was done is known then")
        log.info("drained")

    def _stop_for(self, error: BaseException) -> None:
        if isinstance(error, UsageError):
            self._wrong = error
            self._ending.set()
        else:
            self._supervisor.fail(error)

    def _fail(self, error: HaltError) -> None:
        """A part that all workspaces need is missing: the consumer ends, and says why."""
        log.error(str(error))
        self._clean = False
        self._ending.set()
