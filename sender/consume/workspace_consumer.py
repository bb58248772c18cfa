"""A WorkspaceConsumer is one workspace at work in a consumer: takes jobs on, runs its lanes, ends their messages."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.acknowledger import reason_of
from sender.consume.in_flight import Hands
from sender.consume.lease import Lease
from sender.consume.requeue import BackgroundTasks, end_all, give_back
from sender.doubts.doubts import Doubts
from sender.engine.admission import admit
from sender.engine.identities import Identities
from sender.engine.job_execution import JobExecution
from sender.engine.preflight import look_ahead
from sender.errors import FaultError, HaltError, OutputError, StateLost
from sender.jobs.kinds import LANES
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.outcomes.outcome_lines import OutcomeLines
from sender.outcomes.recorder import FinishedJob, Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sender.config.settings import Settings
    from sender.consume.acknowledger import Acknowledger
    from sender.consume.unacked import Holdings, UnackedMessage
    from sender.engine.lane import Lane
    from sender.engine.workspace import Workspace
    from sender.jobs.job import Job, Priority
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord, Ledger
    from sender.outcomes.recorder import Log
    from sender.runtime.metrics import Observer
    from sender.runtime.tracing import Tracer

MOST_WAITING: Final = 200
"""Jobs of one priority that wait in one lane; what comes above that is given back."""
LEAST_WAITING: Final = 4
SOON: Final = 2.0
"""Seconds of a lane's rate that may wait in it: a slow lane holds few messages, and the others have the places."""
BURIED: Final = ("invalid", "rejected", "failed", "in_doubt")
RECONCILE_EVERY: Final = 5.0
TEND_EVERY: Final = 1.0
FIND_WITHIN: Final = 5.0
"""Seconds for a look into the memory; then the messages go back, long before they return by themselves."""
GATHER: Final = 0.08
"""Seconds that ends wait for others: each record is a round trip, which all replicas pay to one server."""
RECORD_WITHIN: Final = 5.0
"""Seconds that the end waits for outcomes to be recorded."""
LOST_HORIZON: Final = 6 * 3600.0
"""Seconds after the loss of a shared state for which a message that was given out before may have been sent."""
LOST: Final = "lost"
PRIORITIES: Final = ("high", "normal", "low")

log = structlog.get_logger()


class WorkspaceConsumer:
    """Everything that one workspace needs; `run` works until `stop`."""

    def __init__(
        self, name: str | None, workspace: Workspace, ledger: Ledger, sink: Log, settings: Settings,
        acknowledger: Acknowledger, observer: Observer, tracer: Tracer, on_halt: Callable[[], None],
        *, away: Callable[[], bool] = lambda: False, lost_at: float | None = None,
    ) -> None:
        self.name = name
        self.workspace = workspace
        self.ledger = ledger
        self.halted: HaltError | None = None
        self._settings = settings
        self._acknowledger = acknowledger
        self._observer = observer
        self._tracer = tracer
        self._on_halt = on_halt
        self._away = away
        self._lost_at = lost_at
        self._recorder = Recorder(ledger, sink, self, gather=GATHER, observer=observer)
        self._identities = Identities(ledger)
        self._hands = Hands(self._identities)
        self._doubts = Doubts(workspace, ledger, self._recorder, settings)
        self._lease = Lease(ledger)
        self._lines = OutcomeLines(settings.log_level)
        self._background = BackgroundTasks()
        self._stopping = False

    @property
    def works(self) -> bool:
        """Whether it takes jobs on: not halted, not stopping, and its memory answers."""
        return self.halted is None and not self._stopping and not self._away()

    @property
    def holdings(self) -> Holdings:
        """Its messages in hand."""
        return self._hands.holdings

    @property
    def unrecorded(self) -> list[FinishedJob]:
        """Ends that are not in the memory, since it was lost; those that say something of a job's fate."""
        return [ended for ended in self._recorder.unrecorded if ended.entry is not None]

    async def note_loss(self) -> None:
        """Nothing of what was given out before now is known: all replicas are told."""
        self._lost_at = time.time()
        with suppress(HaltError):
            await note_loss(self.ledger, self._lost_at)

    def record_late(self, ended: Sequence[FinishedJob]) -> None:
        """Take what another station could not record: its messages come again, and are known then."""
        for one in ended:
            self._recorder.put(one)

    async def open(self, base_url: str) -> None:
        """Preflight and memory; UsageError when key or URL are surely wrong."""
        if self._settings.preflight:
            seen = await look_ahead(self.workspace.reader.get, base_url)
            self.workspace.reader.readable = seen.readable
            if seen.warning:
                log.warning(seen.warning)
            bind = getattr(self.ledger, "bind_workspace", None)
            if seen.workspace is not None and bind is not None:
                await bind(seen.workspace)
        await self.workspace.open_lanes(self.ledger, self)
        await self._recorder.replay()
        await self._doubts.open()
        await self.workspace.warm()

    async def run(self) -> None:
        """Lanes, records and reconciliation, until `stop` and all that is in hand has ended."""
        beside = [
            asyncio.create_task(self._guard(work), name=name)
            for name, work in (
                ("recorder", self._recorder.run()),
                ("notes", self._doubts.keep_notes()),
                ("triggers", self._follow_triggers()),
                ("reconcile", self._reconcile()),
                ("tend", self._tend()),
            )
        ]
        try:
            await asyncio.gather(*(self._guard(self.workspace.lanes[name].run()) for name in LANES))
            if not isinstance(self.halted, OutputError):
                async with asyncio.timeout(RECORD_WITHIN):
                    await self._recorder.drain()
                    await self._doubts.save()
        except TimeoutError:
            log.warning("outcomes could not be recorded; their jobs are in doubt for the next replica")
        except OutputError as error:
            self.halt(error)
        finally:
            await end_all(beside)
        if self.halted is not None and not is_lost(self.halted):  # the others go on: this is for other replicas
            self._background.start(give_back(self._hands.withdraw(self.holdings.keys())), "give back")
        await self._background.finish()

    def places(self, name: LaneName, priority: Priority) -> tuple[int, int]:
        """(free, all) places for waiting jobs; each priority has its own."""
        if not self.works:
            return 0, 0
        lane = self.workspace.lanes[name]
        ranks = lane.queue.startable
        others, most = lane.waiting - sum(ranks), self._most_waiting(lane)
        return max(0, most - ranks[PRIORITIES.index(priority)] - others), most

    def _most_waiting(self, lane: Lane) -> int:
        """A lane that stands leaves half of the messages in hand to the others."""
        most = min(MOST_WAITING, max(LEAST_WAITING, round(lane.pacer.rate * SOON)))
        now = asyncio.get_running_loop().time()
        stands = lane.breaker.state != "closed" or lane.pacer.paused_until > now + TEND_EVERY
        return min(most, max(1, self._settings.prefetch // 2)) if stands else most

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Start these jobs, or end their messages by what is known of them; returns those to be given back."""
        if not self.works:
            return [holding for _, holding in arrived]
        try:
            async with asyncio.timeout(FIND_WITHIN):
                found = await self._identities.look_up([job.key for job, _ in arrived])
        except TimeoutError:
            return [holding for _, holding in arrived]
        except HaltError as error:
            self.halt(error)
            return [holding for _, holding in arrived]
        with found as standings:
            return [holding for job, holding in arrived if not self._take_on(job, holding, standings.get(job.key))]

    def _take_on(self, job: Job, holding: UnackedMessage, standing: JobRecord | None) -> bool:
        """Start the job, or end its message by what is known of it; False: give the message back."""
        joined = self._hands.join(job, holding)
        if joined != "unknown":
            if joined == "conflict":
                self._refuse_conflict(job, holding)
            return joined != "ended"
        if standing is not None and (standing.owned_elsewhere or standing.state == "handed_over"):
            return False
        if standing is not None and standing.state == "failed":
            standing = None  # given up by an earlier delivery, and surely not accepted
        if standing is None:
            return self._take_up(job, holding)
        if admit(job, None, standing, run=0) == "id_conflict":
            self._refuse_conflict(job, holding)
        else:
            self._end_standing(job, holding, standing)
        return True

    def refuse(self, holding: UnackedMessage, outcome: Outcome) -> None:
        """A message that is no job."""
        key = f"message {holding.message.source} {holding.message.id}"
        self.holdings.add(key, holding)
        self._recorder.put(FinishedJob(outcome, None, key=key))

    def _refuse_conflict(self, job: Job, holding: UnackedMessage) -> None:
        problem = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")
        self.refuse(holding, Outcome(job.id, job.kind.name, "invalid", job.source, job.line, problems=(problem,)))

    def stop(self, *, now: bool) -> None:
        """Start nothing more; or let go of what is in hand at once."""
        self._stopping = True
        for lane in self.workspace.lanes.values():
            if now:
                lane.abort()
            else:
                lane.stop()

    def halt(self, error: HaltError) -> None:
        """Nothing of this workspace is sent any more, for a reason."""
        if self.halted is None:
            self.halted = error
            log.error("a workspace has halted", workspace=self.name or "default", because=str(error))
        self.stop(now=isinstance(error, OutputError))
        self._on_halt()

    def unstarted(self) -> list[UnackedMessage]:
        """Messages of which surely nothing was sent. After a loss of the memory only these may go back as if they had
        never been read: of the others nobody else would know that they may have been sent."""
        return self.withdraw(self._hands.waiting(lambda one: not one.attempts))

    def withdraw(self, keys: Sequence[str]) -> list[UnackedMessage]:
        """These jobs go back to their queue: those that wait are not started any more. Returns their messages."""
        for key in keys:
            self._doubts.take(key)
        return self._hands.withdraw(keys)

    def _take_up(self, job: Job, holding: UnackedMessage) -> bool:
        """Start a job of which nothing is known, unless something speaks against it; False: there is no room."""
        deliveries = holding.message.deliveries
        if deliveries > 1 and self._lost_at is not None and time.time() - self._lost_at < LOST_HORIZON:
            self._doubt(job, holding)
        elif deliveries > self._settings.max_deliveries:
            text = f"it was delivered {deliveries - 1} times, and nobody came to an end with it"
            problem = Problem("too_many_deliveries", None, text)
            self.refuse(holding, JobExecution(job).outcome("invalid", problem))
        elif job.kind.name in self.workspace.closed_kinds or not self.places(job.kind.lane, job.priority)[0]:
            return False
        else:
            self._start(job, holding)
        return True

    def _doubt(self, job: Job, holding: UnackedMessage) -> None:
        """Nobody knows whether it was sent before the shared state was lost."""
        now = time.time()
        execution = JobExecution(job, tried_at=now - LOST_HORIZON)
        problem = Problem("state_lost", None, "it was delivered before the shared state was lost")
        outcome = execution.outcome("in_doubt", problem, finished_at=now)
        self._hands.start(execution, holding)
        self._recorder.put(FinishedJob(outcome, execution.entry(outcome)))

    def _start(self, job: Job, holding: UnackedMessage) -> None:
        execution = JobExecution(job, span=self._tracer.begin(job.kind.name, job.kind.lane, holding.message.headers))
        self._hands.start(execution, holding)
        self.workspace.lanes[job.kind.lane].accept_execution(execution)

    def _end_standing(self, job: Job, holding: UnackedMessage, standing: JobRecord) -> None:
        """A job that ended before: its message only has to go the rest of its way."""
        if standing.state == "sent":
            self._acknowledger.ack(holding)
            return
        if standing.state == "in_doubt" and standing.resendable and self._waits_for_settlement(job.kind.lane):
            self._doubts.keep(JobExecution(job))
        if self._doubts.keeps(job.key):
            self.holdings.add(job.key, holding)
        else:
            self._acknowledger.bury(holding, {"reason": standing.state, "id": job.id, "kind": job.kind.name})

    def _waits_for_settlement(self, lane: LaneName) -> bool:
        settings = self._settings
        mine = settings.in_doubt == "resend-if-absent" and lane == "send"
        return mine and settings.reconcile and self.workspace.reader.readable

    async def _follow_triggers(self) -> None:
        if self.workspace.triggers is not None:
            await self.workspace.triggers.follow()

    @property
    def has_room(self) -> bool:
        """See `LaneListener.has_room`."""
        return self._recorder.has_room

    def record(self, ended: FinishedJob) -> None:
        """See `LaneListener.record`."""
        self._recorder.put(ended)

    def log_failed(self, error: OutputError) -> None:
        """See `RecorderListener.log_failed`."""
        self.halt(error)

    def job_left(self, execution: JobExecution) -> None:
        """See `LaneListener.job_left`: its message is requeued with the others in hand."""

    def job_refused(self, execution: JobExecution, standing: JobRecord) -> None:
        """Another replica has the job: its message is given back, or is done."""
        holdings = self._hands.end(execution.job.key)
        if standing.owned_elsewhere or standing.state == "handed_over":
            self._background.start(give_back(holdings), "give back")
            return
        for holding in holdings:
            self._end_standing(execution.job, holding, standing)

    async def job_ended(self, execution: JobExecution, outcome: Outcome, *, resendable: bool) -> None:
        """See `LaneListener.job_ended`."""
        code = outcome.problems[0].code if outcome.problems else None
        execution.span.end(outcome.status, code)
        await self._doubts.note_end(execution, outcome, resendable)

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        """These ends are durable: their messages may go."""
        for ended in batch:
            outcome, key = ended.outcome, ended.entry.key if ended.entry is not None else ended.key
            self._observer.observe_outcome(outcome.status)
            self._lines.tell(outcome)
            if key is None:
                continue
            if outcome.status != "in_doubt":
                self._doubts.take(key)
            elif self._doubts.keeps(key):
                self._hands.doubted(key)
                continue  # its message stays in hand until it is settled
            for holding in self._hands.end(key):
                if outcome.status in BURIED:
                    self._acknowledger.bury(holding, reason_of(outcome))
                else:
                    self._acknowledger.ack(holding)

    async def _tend(self) -> None:
        """Give back in time what will not be started soon: the memory is away, a kind is refused, a lane stands."""
        while True:
            await asyncio.sleep(TEND_EVERY)
            if keys := self._not_soon():
                self._background.start(give_back(self.withdraw(keys)), "give back")

    def _not_soon(self) -> list[str]:
        if self._away():
            return self._hands.waiting(lambda one: not one.attempts)
        kinds = self.workspace.closed_kinds
        keys = self._hands.waiting(lambda one: one.job.kind.name in kinds and not one.in_lane) if kinds else []
        return keys + [key for lane in self.workspace.lanes.values() for key in self._excess(lane)]

    def _excess(self, lane: Lane) -> list[str]:
        """Jobs above what a lane that stands may hold, the latest of them."""
        number = lane.waiting - self._most_waiting(lane) if lane.breaker.state != "closed" else 0
        return self._hands.waiting(lambda one: one.in_lane and one.job.kind.lane == lane.name)[: max(0, number)]

    async def _reconcile(self) -> None:
        """Take over what dead replicas left, and settle doubts again and again; one replica at a time."""
        while True:
            await asyncio.sleep(RECONCILE_EVERY)
            self._lost_at = await known_loss(self.ledger)
            await self._doubts.carry()
            await self._follow_settlements()
            if self._settings.reconcile:
                async with self._lease.held() as mine:
                    for execution in await self._doubts.settle_ripe() if mine else ():
                        self._send_again(execution)

    async def _follow_settlements(self) -> None:
        """What another replica settled of the jobs that wait here."""
        found: Mapping[str, JobRecord] = await self.ledger.find(self._doubts.kept) if self._doubts.kept else {}
        for key, standing in found.items():
            if standing.state == "in_doubt" or (execution := self._doubts.take(key)) is None:
                continue
            if standing.state == "failed":
                self._send_again(execution)
                continue
            for holding in self._hands.end(key):
                self._end_standing(execution.job, holding, standing)

    def _send_again(self, execution: JobExecution) -> None:
        if execution.job.key in self.holdings:
            self._hands.start(execution)
            self.workspace.lanes[execution.job.kind.lane].accept_execution(execution)

    async def _guard(self, work: Awaitable[object]) -> None:
        """A memory that cannot be written halts the workspace, and so does a fault of our own."""
        try:
            await work
        except HaltError as error:
            self.halt(error)
        except Exception as error:  # noqa: BLE001 - a part that is missing must not go unnoticed
            self.halt(FaultError(error))


async def note_loss(ledger: Ledger, now: float) -> None:
    """Have all replicas know that the memory was lost at that unix time."""
    log.warning("the state was lost, or is another; redelivered messages without a record are in doubt")
    await ledger.put_note(LOST, repr(now).encode())


async def known_loss(ledger: Ledger) -> float | None:
    """Unix time at which some replica saw that the memory had been lost; None if none did."""
    known = await ledger.get_note(LOST)
    return float(known) if known else None


def is_lost(error: HaltError | None) -> bool:
    """Whether the shared state has gone, and has to be joined anew."""
    return isinstance(error, StateLost)
