"""A WorkspaceConsumer is one workspace of a consumer: the front-end of a session whose jobs come as messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from anyio import fail_after, move_on_after

from sender.consume.acknowledger import Acknowledger
from sender.consume.completer import Completer
from sender.consume.dispatcher import Dispatcher
from sender.consume.in_flight import InFlight
from sender.consume.lane_capacity import LaneCapacity
from sender.consume.lease import Lease
from sender.consume.reconcile_loop import ReconcileLoop
from sender.engine.preflight import Preflight, look_ahead
from sender.errors import HaltError, StateLost
from sender.session.front_end import Listener
from sender.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.consume.in_flight import UnackedMessage
    from sender.consume.memory import Memory
    from sender.consume.outputs import Outputs
    from sender.engine.job_execution import JobExecution
    from sender.engine.workspace import Workspace
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob
    from sender.runtime.supervisor import Supervisor
    from sender.runtime.tracing import Tracer

GATHER: Final = 0.08
"""Seconds that ends wait for others: each record is a round trip, which all replicas pay to one server."""
FIND_WITHIN: Final = 5.0
"""Seconds for a look into the ledger; then the messages wait beside, and others may be read."""
SHED_EVERY: Final = 1.0
RECORD_WITHIN: Final = 5.0
"""Seconds that the end waits for outcomes to be recorded."""

log = structlog.get_logger()


class WorkspaceConsumer(Listener):
    """Opened, then run until `stop` or a halt; its messages are requeued or acknowledged after that, too."""

    def __init__(
        self, name: str | None, workspace: Workspace, memory: Memory, settings: Settings, outputs: Outputs,
        tracer: Tracer, supervisor: Supervisor,
    ) -> None:
        self.name = name
        self.memory = memory
        self.in_flight = InFlight()
        self.acknowledger = Acknowledger(self.in_flight, outputs.dead_letters, supervisor)
        self.session = Session(workspace, memory.ledger, outputs.sink, settings, supervisor, self, gather=GATHER)
        self.ending = asyncio.Event()
        """Set by the first `stop` or halt."""
        self._halted = False
        self._preflight = settings.preflight
        self._lease = Lease(memory.ledger)
        self._capacity = LaneCapacity(workspace, settings.prefetch)
        self._completer = Completer(self.session, self.in_flight, self.acknowledger, settings)
        self._dispatcher = Dispatcher(
            self.session, memory, self.in_flight, self._completer, self._capacity, tracer, settings.max_deliveries
        )
        self._reconcile_loop = ReconcileLoop(
            self.session, memory, self.in_flight, self._completer, self._lease, reads_lists=settings.reconcile
        )

    @property
    def works(self) -> bool:
        """Whether it takes jobs on: not halted, not stopping, and its memory answers."""
        return not self.ending.is_set() and not self.memory.away

    @property
    def state_lost(self) -> bool:
        """Whether it halted since the shared state has gone, which has to be joined anew."""
        return isinstance(self.session.halted, StateLost)

    @property
    def unrecorded(self) -> list[FinishedJob]:
        """Ends that are not in the memory, since it was lost; those that say something of a job's fate."""
        return [ended for ended in self.session.recorder.unrecorded if ended.entry is not None]

    async def open(self, base_url: str) -> None:
        """Preflight, what earlier runs left, lanes; UsageError when key or URL are surely wrong."""
        workspace = self.session.workspace
        seen = await look_ahead(workspace.reader.get, base_url) if self._preflight else Preflight()
        if seen.warning:
            log.warning(seen.warning)
        if seen.workspace is not None:
            await self.memory.ledger.bind_workspace(seen.workspace)
        await self.session.open(seen)
        await workspace.warm()

    async def run(self) -> None:
        """Until `stop` or a halt, and then until the requests under way have ended and their ends are durable."""
        self.session.start()
        self.session.supervise(self.acknowledger.run(), "acknowledgements")
        self.session.supervise(self._lease.renew(), "lease")
        self.session.supervise(self._reconcile_loop.run(), "reconciliation", ends=True)
        self.session.supervise(self._shed(), "requeues")
        await self.ending.wait()
        for lane in self.session.workspace.lanes.values():
            await lane.drained()
        if not self.state_lost:
            await self._record_rest()
        if self.session.halted is not None and not self.state_lost:  # the other workspaces go on without this one
            self.requeue(self.in_flight.keys())

    def places(self, lane: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs."""
        return self._capacity.places(lane, priority) if self.works else (0, 0)

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Start these jobs, or end their messages by what is known of them; returns those to be tried again later."""
        if self.works:
            try:
                with fail_after(FIND_WITHIN):
                    return await self._dispatcher.take_on(arrived)
            except TimeoutError:
                log.debug("the ledger does not answer in time; the messages wait", messages=len(arrived))
            except HaltError as error:
                self.session.halt(error)
        return [message for _, message in arrived]

    def refuse(self, message: UnackedMessage, outcome: Outcome) -> None:
        """Record why a message is no job."""
        self._dispatcher.refuse(message, outcome)

    def requeue(self, keys: Sequence[str]) -> None:
        """These jobs go back to their queues: those that wait are not started any more."""
        self.acknowledger.requeue(self._take_back(keys))

    def take_rest(self) -> list[UnackedMessage]:
        """At the end: all messages in hand that another replica may have.

        After a loss of the memory these are only those of which surely nothing was sent: of the others nobody else
        would know that they may have been sent.
        """
        self._take_back(self.in_flight.unstarted() if self.state_lost else self.in_flight.keys())
        return self.in_flight.closing()

    def stop(self, *, now: bool) -> None:
        """Start nothing more; or let go of the requests under way at once, too."""
        self.ending.set()
        self.session.stop_lanes(now=now)

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `FrontEnd.on_recorded`."""
        self._completer.recorded(batch)

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `FrontEnd.on_refused`."""
        self._completer.ended_elsewhere(execution.job, record)

    def on_left(self, execution: JobExecution) -> None:
        """See `FrontEnd.on_left`."""
        self.in_flight.lane_left(execution)

    def on_halt(self, error: HaltError) -> None:
        """See `FrontEnd.on_halt`."""
        if not self._halted:
            log.error("a workspace has halted", workspace=self.name or "default", because=str(error))
        self._halted = True
        self.ending.set()

    def _take_back(self, keys: Sequence[str]) -> list[UnackedMessage]:
        """Their messages; their doubts are another's from now on."""
        for key in keys:
            self.session.doubts.take(key)
        return self.in_flight.requeue(keys)

    async def _record_rest(self) -> None:
        with move_on_after(RECORD_WITHIN) as recording:
            await self.session.drain()
            await self.session.doubts.save()
        if recording.cancelled_caught:
            log.warning("outcomes could not be recorded; their jobs are in doubt for the next replica")

    async def _shed(self) -> None:
        """Park what will not start soon; without its memory let other replicas have it, where that costs nothing."""
        while True:
            await asyncio.sleep(SHED_EVERY)
            for lane, number in self._capacity.excess():
                self.in_flight.park(lane, number)
            if self.memory.away:
                self.requeue([key for key in self.in_flight.unstarted() if self.in_flight.returns_freely(key)])
