"""The Backlog of a lane: what it has taken on and not handed over yet, first tries by rank, further ones by time."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from sender.jobs.problem import Problem
from sender.outcomes.recorder import FinishedJob

if TYPE_CHECKING:
    from sender.engine.job_execution import JobExecution
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import LaneContext


class Backlog:
    """Gives out the next job that may start; a retry whose time has come goes first."""

    def __init__(self, queue: JobQueue, context: LaneContext) -> None:
        self._queue = queue
        self._context = context
        self._retries: list[tuple[float, int, JobExecution]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._queue) + len(self._retries)

    @property
    def retries(self) -> int:
        """Jobs that wait for another try."""
        return len(self._retries)

    @property
    def next_retry_at(self) -> float | None:
        """Loop time at which the first of them may be tried again."""
        return self._retries[0][0] if self._retries else None

    def take(self, now: float) -> JobExecution | None:
        """The next job that may start now; those that no longer may are ended or left on the way."""
        while (execution := self._next(now)) is not None:
            if execution.withdrawn:
                self._queue.finish(execution)
            elif execution.job.kind.name in self._context.kinds.closed:
                self.leave(execution)
            elif self._expired(execution):
                self._end_expired(execution)
            else:
                return execution
        return None

    def put_back(self, execution: JobExecution, due: float) -> None:
        """Have it tried again from this loop time on."""
        execution.due = due
        heapq.heappush(self._retries, (due, next(self._order), execution))

    def leave(self, execution: JobExecution) -> None:
        """Leave it to the next run."""
        self._queue.finish(execution)
        self._context.listener.job_left(execution)

    def leave_all(self) -> None:
        """Leave everything that waits to the next run."""
        for execution in [*self._queue.drain(), *(entry[2] for entry in self._retries)]:
            self.leave(execution)
        self._retries.clear()

    def _next(self, now: float) -> JobExecution | None:
        if self._retries and self._retries[0][0] <= now:
            return heapq.heappop(self._retries)[2]
        return self._queue.take()

    def _expired(self, execution: JobExecution) -> bool:
        expires_at = execution.job.expires_at
        return expires_at is not None and not execution.attempts and self._context.wall() > expires_at

    def _end_expired(self, execution: JobExecution) -> None:
        problem = Problem(
            "expired", "expires_at", "the job's time was over before it could start; it was not requested"
        )
        self._queue.finish(execution)
        self._context.listener.record(FinishedJob(execution.outcome("invalid", problem), None, key=execution.job.key))
