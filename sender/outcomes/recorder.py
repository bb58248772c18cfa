"""The Recorder makes ends last, in this order: ledger, outcome log, and only then they are counted and told."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sender.runtime.metrics import NoMetrics, commit_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.ledger import FinalRecord, Ledger
    from sender.outcomes.outcome import Outcome
    from sender.runtime.metrics import Observer

BATCH: Final = 1000
FEW: Final = 100
GATHER: Final = 0.03
"""Seconds that a few ends wait for others, so that 100 jobs a second cost 33 commits and not 100."""


class FinishedJob(NamedTuple):
    """A job's end on its way to disk."""

    outcome: Outcome
    entry: FinalRecord | None
    """None where nothing is to be remembered (`invalid`, `duplicate`): such a line goes to the log alone."""
    key: str | None = None
    """What the end is asked for by, where there is no entry."""
    later: bool = False
    """Whether it changes the fate of a job that ended before: settled from doubt, or errors that came late."""


class Log(Protocol):
    """Where outcome lines go."""

    async def append(self, lines: Sequence[bytes]) -> None:
        """Durably add these lines; raises OutputError when that cannot be done."""


class Recorder:
    """Takes ends as they come, and writes all that wait in one go while the next ones gather."""

    def __init__(
        self, ledger: Ledger, log: Log, on_recorded: Callable[[Sequence[FinishedJob]], None],
        *, gather: float = GATHER, observer: Observer | None = None,
    ) -> None:
        self._gather = gather
        self._observer = observer or NoMetrics()
        self._ledger = ledger
        self._log = log
        self._on_recorded = on_recorded
        self._waiting: deque[FinishedJob] = deque()
        self._recording: Sequence[FinishedJob] = ()
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failed: Exception | None = None

    @property
    def backlog(self) -> int:
        """Ends that are not yet on disk."""
        return len(self._waiting)

    @property
    def unrecorded(self) -> list[FinishedJob]:
        """The same, with those that are being written."""
        return [*self._recording, *self._waiting]

    def put(self, ended: FinishedJob) -> None:
        """Have this end recorded; returns at once."""
        self._waiting.append(ended)
        if self._failed is None:
            self._idle.clear()
        self._more.set()

    async def replay(self) -> int:
        """Write the lines that an earlier run settled but did not come to log; returns their number."""
        upto = await self._ledger.last_seq()
        lines = await self._ledger.unlogged()
        if lines:
            await self._log.append(lines)
            await self._ledger.logged(upto)
        return len(lines)

    async def run(self) -> None:
        """Record until cancelled; raises OutputError as soon as something cannot be written."""
        try:
            await self._run()
        except Exception as error:
            self._failed = error
            self._idle.set()
            raise

    async def _run(self) -> None:
        while True:
            await self._more.wait()
            if len(self._waiting) < FEW:
                await asyncio.sleep(self._gather)
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._recording = batch
            await self._record(batch)
            self._recording = ()
            if not self._waiting:
                self._more.clear()
                self._idle.set()

    async def drain(self) -> None:
        """Return when everything that was put is on disk and told; raises what `run` failed with."""
        await self._idle.wait()
        if self._failed is not None:
            raise self._failed

    async def _record(self, batch: Sequence[FinishedJob]) -> None:
        entries = [ended.entry for ended in batch if ended.entry is not None]
        upto = 0
        if entries:
            with commit_time(self._observer, "settle"):
                upto = await self._ledger.settle(entries)
        await self._log.append([ended.entry.line if ended.entry else ended.outcome.to_line() for ended in batch])
        if upto:
            await self._ledger.logged(upto)
        self._on_recorded(batch)
