"""The HandOver of a lane: the next slots' jobs, durably handed over before a permit is waited for.

They are at most `AHEAD` seconds of slots, so that the commit never stands in the pace and a kill leaves no more than
that in doubt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from sender.jobs.problem import Problem
from sender.runtime.metrics import commit_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.engine.backlog import Backlog
    from sender.engine.job_execution import JobExecution
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import LaneContext
    from sender.engine.pacing.pace import Pace

AHEAD: Final = 0.05
"""Seconds of slots that are handed over ahead."""
MOST_AHEAD: Final = 500
LOOK_AGAIN: Final = 0.02
"""Seconds until a lane looks again whether the recorder has room."""


class HandOver:
    """Picks jobs from the backlog, tells the ledger, and keeps them ready."""

    def __init__(self, backlog: Backlog, queue: JobQueue, pacer: Pace, context: LaneContext, *, most: int) -> None:
        self._backlog = backlog
        self._queue = queue
        self._pacer = pacer
        self._context = context
        self._most = min(MOST_AHEAD, most)
        self._few = 0
        """Half of what is handed over ahead, when jobs were picked last: asked twice for each job."""
        self.ready: deque[JobExecution] = deque()
        """Jobs that are handed over and wait for their permits."""

    @property
    def low(self) -> bool:
        """Whether so few are ready that more would be picked."""
        return len(self.ready) <= self._few

    @property
    def _ahead(self) -> int:
        return min(self._most, max(1, int(self._pacer.rate * AHEAD)))

    def pick(self, now: float) -> tuple[list[JobExecution], float | None]:
        """The jobs to hand over now; if there are none, when to look again (None: at the next change).

        They are picked also while the pool is full, so that no free place waits for a commit.
        """
        if not self._context.listener.has_room:
            return [], now + LOOK_AGAIN
        ahead = self._ahead
        self._few = ahead // 2
        if not self.low:
            return [], None
        at = self._pacer.next_at(now) - AHEAD
        if at > now:
            return [], at if at < float("inf") and not self.ready else None
        room = ahead - len(self.ready)
        batch: list[JobExecution] = []
        while len(batch) < room and (execution := self._backlog.take(now)) is not None:
            batch.append(execution)
        return batch, self._backlog.next_retry_at

    async def claim(self, batch: Sequence[JobExecution]) -> None:
        """Hand these over; those that another replica got before are none of ours any more."""
        try:
            batch = await self._with_files(batch)
            if self._context.listener.commit_begins():
                await asyncio.sleep(0)  # so that one commit has both
        except BaseException:
            for execution in batch:
                self._backlog.leave(execution)
            raise
        if not batch:
            return
        wall, marks = self._context.wall(), self._context.clock.marks()
        try:
            with commit_time(self._context.observer, "hand_over"):
                refused = await self._context.ledger.hand_over([execution.claim(wall, marks) for execution in batch])
        except asyncio.CancelledError:
            self.ready.extend(batch)  # the ledger may have them: `release` takes that back
            raise
        except BaseException:
            for execution in batch:
                self._backlog.leave(execution)
            raise
        for execution in batch:
            record = refused.get(execution.job.key)
            if record is None:
                self.ready.append(execution)
            else:
                self._queue.finish(execution)
                self._context.listener.job_refused(execution, record)

    async def _with_files(self, batch: Sequence[JobExecution]) -> Sequence[JobExecution]:
        """Read the files of those that have some; a job whose files cannot be sent ends here, and is not requested."""
        if all(execution.job.files is None for execution in batch):
            return batch
        read = await asyncio.to_thread(lambda: [_read_files(execution) for execution in batch])
        readable: list[JobExecution] = []
        for execution, body in zip(batch, read, strict=True):
            if isinstance(body, Problem):
                self._backlog.refuse(execution, body)
            else:
                execution.files_read = body
                readable.append(execution)
        return readable

    async def give_back(self, now: float) -> None:
        """Take back those that cannot start for some time; they are the first to be picked again."""
        waiting = list(self.ready)
        self.ready.clear()
        if waiting:
            await self._context.release([execution.job.key for execution in waiting])
        for execution in waiting:
            self._backlog.put_back(execution, now)

    async def release(self) -> None:
        """Take back those that were not started, and leave them to the next run."""
        left = list(self.ready)
        self.ready.clear()
        if left:
            await self._context.release([execution.job.key for execution in left])
        for execution in left:
            self._backlog.leave(execution)


def _read_files(execution: JobExecution) -> bytes | Problem | None:
    files = execution.job.files
    return None if files is None else files.read_into(execution.job.body)
