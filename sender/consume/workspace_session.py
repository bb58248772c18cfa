"""The WorkspaceSession: preflight, lanes, recorder and doubts of one workspace, opened, run and drained as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sender.doubts.doubts import Doubts
from sender.engine.identities import Identities
from sender.engine.preflight import look_ahead
from sender.outcomes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.consume.background_tasks import BackgroundTasks
    from sender.consume.memory import Memory
    from sender.engine.job_execution import JobExecution
    from sender.engine.workspace import Workspace
    from sender.errors import HaltError
    from sender.ledger import JobRecord, Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob, Log

GATHER: Final = 0.08
"""Seconds that ends wait for others: each record is a round trip, which all replicas pay to one server."""

log = structlog.get_logger()


class SessionListener(Protocol):
    """Is told what happens in a session; every method returns at once."""

    def on_recorded(self, batch: Sequence[FinishedJob]) -> None:
        """These ends are durable."""

    def on_refused(self, execution: JobExecution, record: JobRecord) -> None:
        """Another replica got the job before this one could hand it over; this is how it stands."""

    def on_halt(self, error: HaltError) -> None:
        """Nothing further may be sent."""


class WorkspaceSession:
    """Jobs are submitted to it, and the listener is told of their ends."""

    def __init__(
        self, workspace: Workspace, memory: Memory, ledger: Ledger, sink: Log, settings: Settings,
        listener: SessionListener,
    ) -> None:
        self.workspace = workspace
        self.memory = memory
        self.ledger = ledger
        self.recorder = Recorder(ledger, sink, listener.on_recorded, gather=GATHER)
        self.doubts = Doubts(workspace, ledger, self.recorder, settings)
        self._listener = listener
        self._preflight = settings.preflight

    async def open(self, base_url: str) -> None:
        """Preflight, lanes, what earlier runs left; UsageError when key or URL are surely wrong."""
        if self._preflight:
            seen = await look_ahead(self.workspace.reader.get, base_url)
            self.workspace.reader.readable = seen.readable
            if seen.warning:
                log.warning(seen.warning)
            if seen.workspace is not None:
                await self.memory.ledger.bind_workspace(seen.workspace)
        await self.workspace.open_lanes(
            self.ledger, Identities(self.ledger), self.recorder.put,
            halt=self._listener.on_halt, on_end=self._note_end, on_refused=self._listener.on_refused,
        )
        await self.recorder.replay()
        await self.doubts.open()
        await self.workspace.warm()

    def start(self, tasks: BackgroundTasks) -> None:
        """Record ends, save what is remembered, follow triggers."""
        tasks.keep(self.recorder.run, "recorder")
        tasks.keep(self.doubts.keep_notes, "notes")
        tasks.keep(self.workspace.follow_triggers, "triggers")

    def submit(self, execution: JobExecution) -> None:
        """Have the job sent in its lane."""
        self.workspace.lanes[execution.job.kind.lane].accept_execution(execution)

    def stop(self, *, now: bool) -> None:
        """Start nothing more; or let go of the requests under way, too."""
        for lane in self.workspace.lanes.values():
            if now:
                lane.abort()
            else:
                lane.stop()

    async def drain(self) -> None:
        """Return when all ends are durable; raises what the recorder failed with."""
        await self.recorder.drain()
        await self.doubts.save()

    async def _note_end(self, execution: JobExecution, outcome: Outcome, resendable: bool) -> None:
        execution.span.end(outcome.status, outcome.problems[0].code if outcome.problems else None)
        await self.doubts.note_end(execution, outcome, resendable)
