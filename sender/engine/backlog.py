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
    from sender.outcomes.outcome import Outcome


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
                self.let_go(execution)
            elif not self._context.kinds.may_start(execution.job.kind.name):
                self.leave(execution)
            elif execution.job.expires_at is not None and execution.expired(self._context.wall()):
                self.expire(execution)
            else:
                return execution
        return None

    def put_back(self, execution: JobExecution, due: float) -> None:
        """Have it tried again from this loop time on."""
        execution.due = due
        heapq.heappush(self._retries, (due, next(self._order), execution))

    def let_go(self, execution: JobExecution) -> None:
        """It is none of the lane's any more: the next one on its resource may start."""
        self._queue.finish(execution)

    def leave(self, execution: JobExecution) -> None:
        """Leave it to the next run."""
        self.let_go(execution)
        self._context.listener.job_left(execution)

    def end(self, execution: JobExecution, outcome: Outcome, *, resendable: bool = True) -> None:
        """It came to its end after one attempt or more: have that recorded."""
        if outcome.status == "in_doubt":
            execution.doubt()
        self.let_go(execution)
        execution.span.end(outcome.status, outcome.problems[0].code if outcome.problems else None)
        listener = self._context.listener
        marks = self._context.clock.marks_since(execution.clock_steps) if outcome.status == "in_doubt" else None
        listener.record(FinishedJob(outcome, execution.entry(outcome, resendable=resendable, marks=marks)))
        listener.job_ended(execution, outcome, resendable=resendable)

    def expire(self, execution: JobExecution) -> None:
        """Its time is over, and it is not handed over: it is not written any more."""
        tried = "no try before was accepted" if execution.attempts else "it was not requested"
        if execution.may_be_accepted:
            tried = "a try before may have been accepted"
        problem = Problem("expired", "expires_at", f"the job's time was over before it could be written; {tried}")
        self.refuse(execution, problem)

    def refuse(self, execution: JobExecution, problem: Problem) -> None:
        """It cannot be written, and is not handed over."""
        self.let_go(execution)
        outcome = execution.outcome("in_doubt" if execution.may_be_accepted else "invalid", problem)
        entry = execution.entry(outcome) if execution.may_be_accepted else None
        self._context.listener.record(FinishedJob(outcome, entry, key=execution.job.key))

    def leave_all(self) -> None:
        """Leave everything that waits to the next run."""
        for execution in [*self._queue.drain(), *(entry[2] for entry in self._retries)]:
            self.leave(execution)
        self._retries.clear()

    def _next(self, now: float) -> JobExecution | None:
        if self._retries and self._retries[0][0] <= now:
            return heapq.heappop(self._retries)[2]
        return self._queue.take()
