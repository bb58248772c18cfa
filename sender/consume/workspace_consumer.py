"""A WorkspaceConsumer is one workspace at work in a consumer: takes jobs on, runs its lanes, ends their messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from anyio import create_task_group, fail_after

from sender.consume.acknowledger import Acknowledger
from sender.consume.background_tasks import BackgroundTasks
from sender.consume.completer import Completer
from sender.consume.dispatcher import Dispatcher
from sender.consume.in_flight import InFlight
from sender.consume.lane_capacity import LaneCapacity
from sender.consume.lease import Lease
from sender.consume.reconcile_loop import ReconcileLoop
from sender.consume.workspace_session import WorkspaceSession
from sender.errors import HaltError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sender.config.settings import Settings
    from sender.consume.halt import Halt
    from sender.consume.in_flight import UnackedMessage
    from sender.consume.memory import Memory
    from sender.consume.outputs import Outputs
    from sender.consume.telemetry import Telemetry
    from sender.engine.job_execution import JobExecution
    from sender.engine.workspace import Workspace
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob

SHED_EVERY: Final = 1.0
RECORD_WITHIN: Final = 5.0
"""Seconds that the end waits for outcomes to be recorded."""

log = structlog.get_logger()


class WorkspaceConsumer:
    """Everything that one workspace needs; `run` works until `stop`. It listens to its session and its halt."""

    def __init__(
        self, name: str | None, workspace: Workspace, memory: Memory, halt: Halt, settings: Settings,
        outputs: Outputs, telemetry: Telemetry,
    ) -> None:
        self.name = name
        self.workspace = workspace
        self.memory = memory
        self.halt = halt
        self.in_flight = InFlight()
        self.acknowledger = Acknowledger(self.in_flight, outputs.dead_letters)
        self.session = WorkspaceSession(
            workspace, memory, telemetry.observer.timed(memory.ledger), outputs.sink, settings, self
        )
        self._stopping = False
        self._capacity = LaneCapacity(workspace, self.in_flight, settings.prefetch)
        self._completer = Completer(self.session, self.in_flight, self.acknowledger, settings, telemetry.observer)
        self._dispatcher = Dispatcher(
            self.session, self.in_flight, self._completer, self._capacity, telemetry.tracer, settings.max_deliveries
        )
        self._lease = Lease(memory.ledger)
        self._reconcile_loop = ReconcileLoop(
            self.session, self.in_flight, self._completer, self._lease, reads_lists=settings.reconcile
        )
        halt.listen(self._halted)

    @property
    def works(self) -> bool:
        """Whether it takes jobs on: not halted, not stopping, and its memory answers."""
        return self.halt.error is None and not self._stopping and not self.memory.away

    @property
    def unrecorded(self) -> list[FinishedJob]:
        """Ends that are not in the memory, since it was lost; those that say something of a job's fate."""
        return [ended for ended in self.session.recorder.unrecorded if ended.entry is not None]

    async def run(self) -> None:
        """Lanes, records and reconciliation, until `stop` and all requests under way have ended."""
        async with create_task_group() as group:
            tasks = BackgroundTasks(group, self.halt)
            self.session.start(tasks)
            tasks.keep(self._reconcile_loop.run, "reconcile")
            tasks.keep(self._lease.renew, "lease")
            tasks.keep(self._shed, "shed")
            async with create_task_group() as lanes:
                for name, lane in self.workspace.lanes.items():
                    BackgroundTasks(lanes, self.halt).start(lane.run, f"lane {name}")
            async with create_task_group() as ending:
                BackgroundTasks(ending, self.halt).start(self._record_rest, "drain")
            group.cancel_scope.cancel()
        if self.halt.error is not None and not self.halt.state_lost:  # others go on: this is for other replicas
            self.requeue(self.in_flight.keys())

    def places(self, lane: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs."""
        return self._capacity.places(lane, priority) if self.works else (0, 0)

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Start these jobs, or end their messages by what is known of them; returns those to be requeued."""
        if self.works:
            try:
                return await self._dispatcher.take_on(arrived)
            except TimeoutError:
                log.debug("the ledger does not answer in time; its messages are requeued", messages=len(arrived))
            except HaltError as error:
                self.halt(error)
        return [message for _, message in arrived]

    def refuse(self, message: UnackedMessage, outcome: Outcome) -> None:
        """Record why a message is no job."""
        self._dispatcher.refuse(message, outcome)

    def requeue(self, keys: Iterable[str]) -> None:
        """These jobs go back to their queues: those that wait are not started any more."""
        self.acknowledger.requeue(self.in_flight.requeue(self._give_up(keys)))

    def take_rest(self) -> list[UnackedMessage]:
        """The end: all messages in hand that another replica may have.

        After a loss of the memory these are only those of which surely nothing was sent: of the others nobody else
        would know that they may have been sent.
        """
        keys = self.in_flight.unstarted() if self.halt.state_lost else self.in_flight.keys()
        self.in_flight.requeue(self._give_up(keys))
        return self.in_flight.leaving()

    def stop(self, *, now: bool) -> None:
        """Start nothing more; or let go of the requests under way at once, too."""
        self._stopping = True
        self.session.stop(now=now)

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `SessionListener`."""
        self._completer.recorded(batch)

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `SessionListener`."""
        self._completer.settled(execution.job, record)

    def on_halt(self, error: HaltError) -> None:
        """See `SessionListener`."""
        self.halt(error)

    def _halted(self, error: HaltError) -> None:
        self.stop(now=isinstance(error, OutputError))

    def _give_up(self, keys: Iterable[str]) -> list[str]:
        """Their doubts are another's from now on."""
        found = list(keys)
        for key in found:
            self.session.doubts.take(key)
        return found

    async def _record_rest(self) -> None:
        if isinstance(self.halt.error, OutputError):
            return
        try:
            with fail_after(RECORD_WITHIN):
                await self.session.drain()
        except TimeoutError:
            log.warning("outcomes could not be recorded; their jobs are in doubt for the next replica")

    async def _shed(self) -> None:
        """Requeue in time what will not start soon."""
        while True:
            await asyncio.sleep(SHED_EVERY)
            away = self.memory.away
            self.requeue(self.in_flight.unstarted() if away else self._capacity.not_soon())
