"""The Recorder makes ends last, in this order: ledger, outcome log, and only then they are counted and told."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from sender.errors import OutputError
from sender.runtime.metrics import NoMetrics, commit_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.ledger import FinalRecord, Ledger
    from sender.outcomes.outcome import Outcome
    from sender.runtime.metrics import Observer

BATCH: Final = 1000
FEW: Final = 100
GATHER: Final = 0.03
"""Seconds that a few ends wait for others, so that 100 jobs a second cost 33 commits and not 100."""
MOST_WAITING: Final = 4000
"""Ends that wait to be written; above that lanes and intakes wait for the recorder."""
SLOW: Final = 5.0
"""Seconds after which a log that takes no line is told of."""

log = structlog.get_logger()


class FinishedJob(NamedTuple):
    """A job's end on its way to disk."""

    outcome: Outcome
    entry: FinalRecord | None
    """None where nothing is to be remembered (`invalid`, `duplicate`, `skipped`): such a line goes to the log alone."""
    key: str | None = None
    """What the end is asked for by, where there is no entry."""
    later: bool = False
    """Whether it changes the fate of a job that ended before: resolved from doubt, or errors that came late."""

    @property
    def identity(self) -> str | None:
        """The job's key, where it has one."""
        return self.entry.key if self.entry is not None else self.key


class Log(Protocol):
    """Where outcome lines go."""

    async def append(self, lines: Sequence[bytes]) -> None:
        """Durably add these lines; raises OutputError when that cannot be done."""


class RecorderListener(Protocol):
    """Hears from a recorder."""

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        """These ends are durable."""

    def log_failed(self, error: OutputError) -> None:
        """The outcome log cannot be written: from now on ends are recorded in the ledger alone."""


class Recorder:
    """Takes ends as they come, and writes all that wait in one go while the next ones gather."""

    def __init__(
        self, ledger: Ledger, log: Log, listener: RecorderListener,
        *, gather: float = GATHER, observer: Observer | None = None,
    ) -> None:
        self._gather = gather
        self._observer = observer or NoMetrics()
        self._ledger = ledger
        self._log = log
        self._listener = listener
        self._waiting: deque[FinishedJob] = deque()
        self._recording: Sequence[FinishedJob] = ()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._gathered = asyncio.Event()
        self._may_go_at = math.inf
        """Loop time from which ends that gather go with another commit."""
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failed: BaseException | None = None
        self._appending: asyncio.Task[None] | None = None
        self._without_log = False
        self.unlogged = 0
        """Ends that stand in the ledger alone, since the log was given up; the next run writes their lines."""
        self.dropped = 0
        """Ends of lines that claim no identity, which the given-up log did not take: the next run checks them anew."""
        self.log_blocked = False
        """Whether the log has taken no lines for `SLOW` seconds: a pipe that nobody reads."""

    @property
    def backlog(self) -> int:
        """Ends that are not yet on disk."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether further ends may be put without the memory growing."""
        return len(self._waiting) < MOST_WAITING

    @property
    def unrecorded(self) -> list[FinishedJob]:
        """The ends that are not yet on disk, with those that are being written."""
        return [*self._recording, *self._waiting]

    async def wait_for_room(self) -> None:
        """Return once `has_room`."""
        await self._room.wait()

    def put(self, ended: FinishedJob) -> None:
        """Have this end recorded; returns at once."""
        self._waiting.append(ended)
        if not self.has_room:
            self._room.clear()
        if self._failed is None:
            self._idle.clear()
        self._more.set()

    def join_commit(self) -> bool:
        """The ledger commits something now: ends that have gathered for half of their time go with it.

        Whether there are any; they are in the ledger's hands after one turn of the loop.
        """
        if self._loop.time() < self._may_go_at:
            return False
        self._gathered.set()
        return True

    async def replay(self) -> int:
        """Write the lines that an earlier run finished but did not come to log; returns their number."""
        upto = await self._ledger.last_seq()
        lines = await self._ledger.unlogged()
        if lines:
            await self._log.append(lines)
            await self._ledger.logged(upto)
        return len(lines)

    def give_up_log(self) -> None:
        """Record in the ledger alone from now on: the log takes no lines, and the run has to end."""
        self._without_log = True
        if self._appending is not None:
            self._appending.cancel()

    async def run(self) -> None:
        """Record until cancelled; raises as soon as something cannot be written."""
        try:
            while True:
                await self._more.wait()
                if len(self._waiting) < FEW:
                    await self._gather_more()
                await self._record_next()
        except BaseException as error:
            self._failed = error
            self._room.set()
            self._idle.set()
            raise

    async def _gather_more(self) -> None:
        """Let a few ends wait for others, or for a commit that comes anyway."""
        self._gathered.clear()
        self._may_go_at = self._loop.time() + self._gather / 2
        timer = self._loop.call_later(self._gather, self._gathered.set)
        try:
            await self._gathered.wait()
        finally:
            timer.cancel()
            self._may_go_at = math.inf

    async def drain(self) -> None:
        """Return when everything that was put is on disk and told; raises what `run` failed with."""
        await self._idle.wait()
        if self._failed is not None and not isinstance(self._failed, asyncio.CancelledError):
            raise self._failed

    async def _record_next(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._recording = batch
        if self.has_room:
            self._room.set()
        await self._record(batch)
        self._recording = ()
        if not self._waiting:
            self._more.clear()
            self._idle.set()

    async def _record(self, batch: Sequence[FinishedJob]) -> None:
        entries = [ended.entry for ended in batch if ended.entry is not None]
        upto = 0
        if entries:
            with commit_time(self._observer, "settle"):
                upto = await self._ledger.finish(entries)
        if await self._append([ended.entry.line if ended.entry else ended.outcome.to_line() for ended in batch]):
            if upto:
                await self._ledger.logged(upto)
        else:
            self.unlogged += len(entries)
            self.dropped += len(batch) - len(entries)
            batch = [ended for ended in batch if ended.entry is not None]
        self._listener.recorded(batch)

    def _given_up(self) -> bool:
        return self._without_log

    async def _append(self, lines: Sequence[bytes]) -> bool:
        """Add to the log; False when it was given up before it took them."""
        if self._given_up():
            return False
        slow = self._loop.call_later(SLOW, self._tell_slow)
        self._appending = self._loop.create_task(self._log.append(lines))
        try:
            await self._appending
        except asyncio.CancelledError:
            if self._given_up():
                return False
            raise
        except OutputError as error:
            self._without_log = True
            self._listener.log_failed(error)
            return False
        finally:
            self._appending, self.log_blocked = None, False
            slow.cancel()
        return True

    def _tell_slow(self) -> None:
        self.log_blocked = True
        log.warning(
            "the outcome log takes no lines; jobs wait until it does (Ctrl-C twice ends the run)", seconds=SLOW
        )
