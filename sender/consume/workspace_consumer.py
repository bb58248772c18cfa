"""A WorkspaceConsumer is one opening of a workspace: the front-end of a session whose jobs come as messages.

What ends it leaves messages in hand and ends that are not recorded; the next opening takes them over.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from anyio import fail_after, move_on_after

from sender.consume.completer import Completer
from sender.consume.dispatcher import Dispatcher, lost_outcome
from sender.consume.joint_ends import JointEnds
from sender.consume.lane_capacity import LaneCapacity
from sender.consume.later_ends import LaterEnds
from sender.consume.lease import Lease
from sender.consume.reconcile_loop import ReconcileLoop
from sender.engine.preflight import Preflight, look_ahead
from sender.errors import HaltError, StateLost, UsageError
from sender.session.front_end import Listener
from sender.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.consume.acknowledger import Acknowledger
    from sender.consume.in_flight import InFlight, UnackedMessage
    from sender.consume.memory import Memory
    from sender.consume.pause_switch import PauseSwitch
    from sender.engine.job_execution import JobExecution
    from sender.engine.workspace import Workspace
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob, Log
    from sender.runtime.supervisor import Supervisor
    from sender.runtime.tracing import Tracer

GATHER: Final = 0.08
"""Seconds that ends wait for others: each record is a round trip, which all replicas pay to one server."""
FIND_WITHIN: Final = 5.0
"""Seconds for a look into the ledger; then the messages wait beside, and others may be read."""
SHED_EVERY: Final = 1.0
TRY_KIND_EVERY: Final = 60.0
"""Seconds after which one job of a kind that the API does not take is tried again."""
GIVE_BACK_WITHIN: Final = 3.0
RECORD_WITHIN: Final = 5.0
"""Seconds that the end waits for outcomes to be recorded."""

log = structlog.get_logger()


class InHand(NamedTuple):
    """What a workspace has over all its openings."""

    in_flight: InFlight
    acknowledger: Acknowledger
    pause: PauseSwitch


class LeftEnd(NamedTuple):
    """An end that is not recorded, and the job's execution where its message is in hand."""

    ended: FinishedJob
    execution: JobExecution | None


class WorkspaceConsumer(Listener):
    """Opened, then run until `stop` or a halt; then `leave` tells what is left to do."""

    def __init__(
        self, workspace: Workspace, memory: Memory, in_hand: InHand, sink: Log, tracer: Tracer,
        supervisor: Supervisor,
    ) -> None:
        self.memory = memory
        self.in_flight, self.acknowledger, self._pause = in_hand
        self.session = Session(workspace, memory.ledger, sink, supervisor, self, gather=GATHER)
        self.ending = asyncio.Event()
        """Set by the first `stop` or halt."""
        if memory.state is not None and memory.state.database is not None:
            memory.state.end_together(JointEnds(self.in_flight, memory.state.database).of)
        self._settings = settings = workspace.settings
        self._preflight = settings.preflight
        self._lease = Lease(memory.ledger)
        self._capacity = LaneCapacity(workspace, settings.prefetch)
        self._completer = Completer(self.session, self.in_flight, self.acknowledger, settings)
        self._dispatcher = Dispatcher(
            self.session, memory, self.in_flight, self._completer, self._capacity, tracer, settings.max_deliveries,
            settings.retry,
        )
        self._reconcile_loop = ReconcileLoop(
            self.session, memory, self.in_flight, self._completer, self._lease, reads_lists=settings.reconcile
        )

    @property
    def works(self) -> bool:
        """Whether it takes jobs on: not halted, not stopping, and its memory answers and says all that is known."""
        return not self.ending.is_set() and not self.memory.away and self.memory.settled

    @property
    def state_lost(self) -> bool:
        """Whether it halted since the shared state has gone, which has to be joined anew."""
        return isinstance(self.session.halted, StateLost)

    async def open(self, base_url: str, left: Sequence[LeftEnd] = ()) -> None:
        """Preflight, what earlier runs and openings left, lanes; UsageError when key or URL are surely wrong."""
        workspace = self.session.workspace
        await self._pause.begin(self._settings.paused, self.memory.ledger)
        await self.session.open(await self._look_ahead(base_url))
        await workspace.warm()
        for ended, execution in left:
            if execution is not None:
                self._completer.take_over(ended, execution)
            self.session.record(ended)

    async def check_key(self, base_url: str) -> None:
        """Another key is in use: halt when the API refuses it, or when it is another workspace's."""
        try:
            await self._look_ahead(base_url)
        except UsageError as error:
            self.session.halt(HaltError(str(error)))

    async def _look_ahead(self, base_url: str) -> Preflight:
        if not self._preflight:
            return Preflight()
        seen = await look_ahead(self.session.workspace.reader.look, base_url)
        if seen.warning:
            log.warning(seen.warning)
        if seen.workspace is not None:
            await self.memory.ledger.bind_workspace(seen.workspace)
        return seen

    async def run(self) -> None:
        """Until `stop` or a halt, and then until the requests under way have ended and their ends are durable."""
        self.session.start()
        self.session.supervise(self._lease.renew(), "lease")
        self.session.supervise(self._pause.carry_out(self.session.workspace, self.memory.ledger), "pause")
        self.session.supervise(self._pause.follow(self.session.workspace), "pauses")
        self.session.supervise(self._try_kinds(), "kinds")
        self.session.supervise(self._reconcile_loop.run(), "reconciliation", ends=True)
        self.session.supervise(self._shed(), "requeues")
        self.session.supervise(LaterEnds(self.memory.ledger, self.acknowledger.queues).run(), "later ends")
        await self.ending.wait()
        for lane in self.session.workspace.lanes.values():
            await lane.drained()
        if not self.state_lost:
            await self._record_rest()
        await self._give_back()

    def places(self, lane: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs."""
        return self._capacity.places(lane, priority) if self.works else (0, 0)

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Start these jobs, or end their messages by what is known of them; returns those to be tried again later."""
        if self.works:
            try:
                with fail_after(FIND_WITHIN):
                    await self.memory.catch_up()
                    await self.memory.judge([message for _, message in arrived])
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

    def leave(self) -> list[LeftEnd]:
        """After the end: what was surely not sent goes back; returns what the next opening has to record.

        Of anything else nobody would know that it may have been sent, if the memory were lost: it stays in hand.
        """
        self.requeue(self.in_flight.unsent())
        executions = {one.job.key: one for one in self.in_flight.undecided()}
        unrecorded = self.session.recorder.unrecorded
        ends = [LeftEnd(ended, executions.pop(ended.identity or "", None)) for ended in unrecorded]
        if self.state_lost:  # nobody knows any more of the jobs in doubt whose messages wait here
            kept = (self.session.doubts.take(key) for key in self.session.doubts.kept)
            executions |= {one.job.key: one for one in kept if one is not None and one.job.key in self.in_flight}
        now = time.time()
        ends += [LeftEnd(lost_outcome(execution, now), execution) for execution in executions.values()]
        self.in_flight.drop_executions()
        if self.session.halted is not None:
            waiting, in_hand = {one.ended.identity for one in ends}, self.in_flight.keys()
            self.requeue([key for key in in_hand if key not in waiting])
        return ends

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
        del error
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

    async def _give_back(self) -> None:
        """What surely was not sent, while the memory that may count it is open."""
        with move_on_after(GIVE_BACK_WITHIN):
            await self.acknowledger.tell(self._take_back(self.in_flight.unsent()), "requeue")

    async def _try_kinds(self) -> None:
        while True:
            await asyncio.sleep(TRY_KIND_EVERY)
            self.session.workspace.try_closed_kinds()

    def _submit_again(self) -> None:
        """What its lane let go of since its kind was refused, where the kind, or one job of it, may be tried now."""
        shut = self.session.workspace.shut_kinds
        for execution in self.in_flight.left_executions():
            if execution.job.kind.name not in shut and self.works:
                self.in_flight.start(execution)
                self.session.submit(execution)

    async def _shed(self) -> None:
        """Park what will not start soon; without its memory let other replicas have it, where that costs nothing."""
        while True:
            await asyncio.sleep(SHED_EVERY)
            self._submit_again()
            for lane, number in self._capacity.excess():
                self.in_flight.park(lane, number)
            if self.memory.away:
                self.requeue([key for key in self.in_flight.unstarted() if self.in_flight.returns_freely(key)])
