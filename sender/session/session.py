"""A Session is one workspace at work: its lanes, ledger, recorder and jobs in doubt, under one supervisor.

    front-end --submit--> lanes --> recorder --on_recorded--> front-end
                            |
                            +--> ledger, doubts

`send`, `consume`, `reconcile` and the library stand before the same session (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from sender.doubts.doubts import Doubts
from sender.engine.identities import Identities
from sender.errors import OutputError
from sender.outcomes.recorder import Recorder
from sender.runtime.tasks import unless

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sender.engine.job_execution import JobExecution
    from sender.engine.preflight import Preflight
    from sender.engine.workspace import Workspace
    from sender.errors import HaltError
    from sender.ledger import JobRecord, Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob, Log
    from sender.runtime.supervisor import Supervisor
    from sender.session.front_end import FrontEnd

class Session:
    """Made by `open_session`; takes jobs until `stop` or `halt`."""

    def __init__(
        self,
        workspace: Workspace,
        ledger: Ledger,
        log: Log,
        supervisor: Supervisor,
        front_end: FrontEnd,
        *,
        gather: float,
    ) -> None:
        self.workspace = workspace
        self.ledger = ledger
        self.recorder = Recorder(ledger, log, self, gather=gather, observer=workspace.observer)
        self.identities = Identities(ledger)
        self.doubts = Doubts(workspace, ledger, self.recorder)
        self.orphans: set[str] = set()
        """Keys of the jobs that earlier runs left handed over; they are in doubt from now on."""
        self.halted: HaltError | None = None
        self._grace = workspace.settings.grace
        self._supervisor = supervisor
        self._front_end = front_end
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        """Set by the first `stop` or `halt`."""

    async def open(self, seen: Preflight) -> None:
        """Take up what earlier runs left, and make the lanes."""
        await self.workspace.open_lanes(self.ledger, self)
        self._supervisor.on_failure(self.halt)
        await self.recorder.replay()
        self._supervisor.start(self.recorder.run(), "recorder")
        self.orphans = await self.doubts.open()
        self.workspace.reader.readable = seen.readable

    def supervise(self, work: Coroutine[None, None, None], name: str, *, ends: bool = False) -> asyncio.Task[None]:
        """Have a part of the front-end run under the session's supervisor, until the session is closed."""
        return self._supervisor.start(work, name, ends=ends)

    def start(self) -> None:
        """Put the lanes to work."""
        if self.workspace.triggers is not None:
            self._supervisor.start(self.workspace.triggers.follow(), "trigger follower")
        self._supervisor.start(self.doubts.keep_notes(), "notes")
        for name, lane in self.workspace.lanes.items():
            self._supervisor.start(lane.run(), f"lane {name}", ends=True)

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    @property
    def ended(self) -> bool:
        """Whether nothing further is handed over."""
        return self._ended.is_set()

    @property
    def in_hand(self) -> int:
        """Requests under way."""
        return sum(lane.in_hand for lane in self.workspace.lanes.values())

    def submit(self, execution: JobExecution) -> None:
        """Take on an admitted job."""
        execution.doubted = execution.doubted or self.doubts.was_in_doubt(execution.job.key)
        self.workspace.lanes[execution.job.kind.lane].accept_execution(execution)

    async def drain(self) -> None:
        """Return when every submitted job has ended and its end is durable, or the session has ended."""
        for lane in self.workspace.lanes.values():
            await lane.drained()
        await self.recorder.drain()

    async def settle(self) -> None:
        """Resolve what is in doubt, and send again what surely was not accepted, until nothing changes or `stop`."""
        while not self.ended:
            again = await unless(self._ended, self.doubts.resolve())
            for execution in again or ():
                self.submit(execution)
            await self.drain()
            if not again:
                break
        await self.doubts.save()
        await self.recorder.drain()

    def stop(self, *, now: bool) -> None:
        """Hand nothing further over; what is in hand ends within the grace, or is let go of at once."""
        self.stop_lanes(now=now)
        if now:
            self.recorder.give_up_log()
        else:
            self._loop.call_later(self._grace, partial(self.stop, now=True))

    def stop_lanes(self, *, now: bool) -> None:
        """The same for a front-end that keeps the grace itself, and whose last ends are still to be logged."""
        self._ended.set()
        for lane in self.workspace.lanes.values():
            if now:
                lane.abort()
            else:
                lane.stop()

    def halt(self, error: HaltError) -> None:
        """Hand nothing further over, for a reason; where ends cannot be recorded, what is in hand is let go of."""
        self._halt(error, at_once=isinstance(error, OutputError))

    def _halt(self, error: HaltError, *, at_once: bool) -> None:
        if self.halted is None:
            self.halted = error
        self.stop_lanes(now=at_once)
        self._front_end.on_halt(error)

    @property
    def has_room(self) -> bool:
        """See `LaneListener.has_room`."""
        return self.recorder.has_room

    def commit_begins(self) -> bool:
        """See `LaneListener.commit_begins`."""
        return self.ledger.shares_commits and self.recorder.join_commit()

    def record(self, ended: FinishedJob) -> None:
        """See `LaneListener.record`."""
        self.recorder.put(ended)

    def job_ended(self, execution: JobExecution, outcome: Outcome, *, resendable: bool) -> None:
        """See `LaneListener.job_ended`."""
        self.doubts.note_end(execution, outcome, resendable)

    def job_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """See `LaneListener.job_refused`."""
        self._front_end.on_refused(execution, record)

    def job_left(self, execution: JobExecution) -> None:
        """See `LaneListener.job_left`."""
        self.identities.ended(execution.job.key)
        self._front_end.on_left(execution)

    def log_failed(self, error: OutputError) -> None:
        """See `RecorderListener.log_failed`: what is in hand ends, and stands in the ledger alone."""
        self._halt(error, at_once=False)

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        """See `RecorderListener.recorded`."""
        for ended in batch:
            problems = ended.outcome.problems
            self.workspace.observer.observe_outcome(ended.outcome.status, problems[0].code if problems else None)
        self._front_end.on_recorded(batch)
        for ended in batch:
            if ended.identity is not None and not ended.later:
                self.identities.ended(ended.identity)
