"""The ForbiddenJobs of a lane: a 403 may be about the job or about its kind, and the job waits until it is known.

    403 --> waiting --a job of its kind, begun later, is not forbidden--> rejected: it was about the job
               |
               +-----nothing else of its kind for MOST_WAIT-------------> rejected
               +-----REFUSALS_OF_A_KIND in a row, SAME_IN_A_ROW where
               |     the API took jobs of the kind before---------------> the kind is closed, those that wait go back
               +-----nothing more comes: as the jobs before it went-----> rejected, or the kind is closed

So each job makes one request. Meanwhile it is not handed over: a run that dies leaves it to the next one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.engine.kind_gate import SAME_IN_A_ROW

if TYPE_CHECKING:
    from sender.engine.backlog import Backlog
    from sender.engine.job_execution import JobExecution
    from sender.engine.kind_gate import KindGate
    from sender.outcomes.outcome import Outcome

REFUSALS_OF_A_KIND: Final = 3
"""403s in a row, of different jobs, after which a kind is closed (docs/delivery-semantics.md)."""
MOST_WAIT: Final = 30.0
"""Seconds after which nobody waits any longer for other jobs of the kind."""
FORBIDDEN: Final = 403


class ForbiddenJob(NamedTuple):
    """A job that got a 403."""

    execution: JobExecution
    outcome: Outcome
    """Its end, if the 403 is about the job."""
    started: float
    """Loop time at which the refused attempt began."""


class ForbiddenJobs:
    """Few at any time: they wait only while nothing else of their kind comes back."""

    def __init__(self, backlog: Backlog, kinds: KindGate) -> None:
        self._backlog = backlog
        self._kinds = kinds
        self._waiting: dict[str, list[ForbiddenJob]] = {}
        self._in_a_row: dict[str, int] = {}
        self._allowed: set[str] = set()
        """Kinds of which a job was not forbidden."""

    def hold(self, job: ForbiddenJob) -> None:
        """A job that is not handed over any more waits for what becomes of its kind."""
        kind = job.execution.job.kind.name
        self._backlog.let_go(job.execution)
        waiting = self._waiting.setdefault(kind, [])
        waiting.append(job)
        self._in_a_row[kind] = self._in_a_row.get(kind, 0) + 1
        if self._in_a_row[kind] >= (SAME_IN_A_ROW if kind in self._allowed else REFUSALS_OF_A_KIND):
            self._close(kind)
        elif kind in self._kinds.closed:
            self._leave(kind)

    def allowed(self, kind: str, started: float) -> None:
        """The API came to another end with a job of this kind: the 403s before were about their jobs."""
        self._allowed.add(kind)
        if kind in self._in_a_row:
            self._reject(kind, started)
            self._in_a_row[kind] = len(self._waiting[kind])

    def rule_overdue(self, now: float) -> None:
        """End those for which nobody waits any longer, at this loop time."""
        for kind, waiting in tuple(self._waiting.items()):
            if waiting and waiting[0].started < now - MOST_WAIT:
                self._reject(kind, now - MOST_WAIT)

    def rule(self) -> None:
        """Nothing more comes that could tell: they end as the jobs before them let expect."""
        for kind in tuple(self._waiting):
            if kind in self._allowed:
                self._reject(kind)
            elif self._waiting[kind]:
                self._close(kind)

    def leave_all(self) -> None:
        """Leave them to the next run."""
        for kind in tuple(self._waiting):
            self._leave(kind)

    def _reject(self, kind: str, before: float = math.inf) -> None:
        """End those whose attempts began before this loop time."""
        waiting = self._waiting.get(kind, [])
        self._waiting[kind] = [job for job in waiting if job.started >= before]
        for job in waiting:
            if job.started < before and not job.execution.withdrawn:
                self._backlog.end(job.execution, job.outcome)

    def _close(self, kind: str) -> None:
        said = self._waiting[kind][-1].outcome.problems[0].message
        self._kinds.close(kind, FORBIDDEN, said)
        self._leave(kind)

    def _leave(self, kind: str) -> None:
        for job in self._waiting.pop(kind):
            self._backlog.leave(job.execution)
        self._in_a_row.pop(kind, None)
