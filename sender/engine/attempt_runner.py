"""The AttemptRunner of a lane: one try of one job, from its permit to what follows from the answer.

send --> observe --> judge --> the lane learns --> decide --> outcome, or back to the backlog
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from sender.engine.api_reader import ReadingFailedError
from sender.engine.decision import Attempt, decide
from sender.engine.forbidden_jobs import ForbiddenJob
from sender.engine.kind_gate import person_of
from sender.errors import HaltError
from sender.jobs.masking import words_of
from sender.jobs.problem import Problem
from sender.runtime.long_step import run_step
from sender.transport import WITHHELD, Reply, Request, TransportFault, Wire
from sender.transport.verdict import judge

if TYPE_CHECKING:
    from sender.engine.attempt_pool import InFlightAttempt
    from sender.engine.backlog import Backlog
    from sender.engine.feedback import ResponseFeedback
    from sender.engine.forbidden_jobs import ForbiddenJobs
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import LaneContext
    from sender.engine.trigger_follower import TriggerFollower
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.outcomes.outcome import Outcome
    from sender.transport.verdict import Verdict

CLOCK_STEP: Final = 0.25
"""Seconds by which the wall clock may run ahead of the loop's before the written stamps follow it."""


class AttemptRunner:
    """Carries attempts out."""

    def __init__(
        self,
        name: LaneName,
        context: LaneContext,
        backlog: Backlog,
        forbidden: ForbiddenJobs,
        feedback: ResponseFeedback,
        triggers: TriggerFollower | None = None,
    ) -> None:
        self._name = name
        self._context = context
        self._backlog = backlog
        self._forbidden = forbidden
        self._feedback = feedback
        self._triggers = triggers
        self._loop = asyncio.get_running_loop()
        self._unix_offset = float("-inf")

    async def attempt(self, attempt: InFlightAttempt) -> None:
        """Try once, and see to what follows."""
        attempt.begun = True
        execution = attempt.execution
        execution.begin(self._context.wall(), self._context.clock.steps)
        key_version = self._context.api.key_version
        wire = Wire(on_written=attempt.permit.written)
        if execution.job.expires_at is not None:
            wire.may_write = lambda: not execution.expired(self._context.wall())
        try:
            answer = await self._exchange(execution, wire)
        except asyncio.CancelledError:
            attempt.interruptible = False
            attempt.permit.cancel()
            await self._interrupted(execution, wire)
            raise
        attempt.interruptible = False
        attempt.permit.cancel()
        if isinstance(answer, TransportFault) and answer.code == WITHHELD:
            await self._withheld(execution)
        else:
            await self._judge(attempt, answer, key_version)

    async def _exchange(self, execution: JobExecution, wire: Wire) -> Reply | TransportFault:
        job = execution.job
        try:
            return await self._context.api.send(Request(job.kind.method, job.path, execution.body), wire)
        except TransportFault as fault:
            return fault
        finally:
            execution.files_read = None  # another try reads them again: files of all jobs under way would fill memory
            if wire.written_at is not None:
                execution.written_at = self._unix(wire.written_at)

    async def _withheld(self, execution: JobExecution) -> None:
        """Its time was over before its first byte."""
        execution.attempts -= 1
        if not execution.attempts:
            execution.started_at = None
        await self._context.release([execution.job.key])
        self._backlog.expire(execution)

    def _unix(self, instant: float) -> float:
        """Loop time in unix seconds, by an offset that changes only where it must.

        So a second of the outcome log holds no more writes than the pacer let into it. The loop's time may be a little
        old, never new: the least offset is the true one, until the wall clock is set.
        """
        offset = self._context.wall() - self._loop.time()
        if not 0 <= offset - self._unix_offset <= CLOCK_STEP:
            self._unix_offset = offset
        return self._unix_offset + instant

    async def _interrupted(self, execution: JobExecution, wire: Wire) -> None:
        if wire.written_at is None:
            await self._context.release([execution.job.key])
            self._backlog.leave(execution)
            return
        problem = Problem("interrupted", None, "the run was stopped before the API's answer came")
        await self._backlog.end(execution, execution.outcome("in_doubt", problem, finished_at=self._context.wall()))

    async def _judge(self, under_way: InFlightAttempt, answer: Reply | TransportFault, key_version: int) -> None:
        execution, started = under_way.execution, under_way.started
        latency = answer.answered_at - answer.written_at if isinstance(answer, Reply) else None
        self._observe(execution, answer, latency)
        verdict = judge(execution.job.kind, answer, self._context.policy.rules, wall=self._context.wall())
        self._feedback.learn(verdict, latency, started)
        body = answer.body if isinstance(answer, Reply) else None
        attempt = Attempt(execution, verdict, latency, body, outage=self._feedback.outage)
        if self._triggers is not None and verdict.what == "rejected":
            under_way.interruptible = True
            attempt = await self._ask_why(attempt, self._triggers)
            under_way.interruptible = False
        decision = decide(attempt, self._context.policy, self._context.wall())
        execution.tries, execution.refusals = decision.tries, decision.refusals
        if verdict.doubtful:
            execution.doubt()
        if decision.outcome is None:
            await self._again(execution, verdict, decision.delay, key_version)
        elif self._may_be_about_kind(decision.outcome, verdict):
            await self._context.release([execution.job.key])
            self._forbidden.hold(ForbiddenJob(execution, decision.outcome, started))
        else:
            await self._backlog.end(execution, decision.outcome, resendable=decision.resendable)
            await self._learn_of_kind(execution.job, decision.outcome, verdict, started)

    def _observe(self, execution: JobExecution, answer: Reply | TransportFault, latency: float | None) -> None:
        status = answer.status if isinstance(answer, Reply) else answer.code
        if isinstance(answer, Reply):
            self._context.clock.observe(answer.date)
        self._context.observer.observe_attempt(self._name, execution.job.kind.name, status, latency)
        execution.span.attempt(status, latency)

    async def _ask_why(self, attempt: Attempt, triggers: TriggerFollower) -> Attempt:
        """A refused trigger: either the queue is full, which is safe, or its errors endpoint knows more."""
        verdict = attempt.verdict
        if verdict.queue_full and triggers.waiting:
            triggers.told_full()
            return attempt._replace(queue_full=True)
        if verdict.error.trigger_id is None:
            return attempt
        job = attempt.execution.job
        try:
            words = await run_step(len(job.body), words_of, job.body)
            details = await triggers.errors_of(job.path_ids[0], verdict.error.trigger_id, words)
        except (ReadingFailedError, asyncio.CancelledError):  # the refusal itself is known, and has to be recorded
            return attempt
        return attempt._replace(details=details)

    async def _again(self, execution: JobExecution, verdict: Verdict, delay: float, key_version: int) -> None:
        """Nothing was accepted: say so in the ledger, then wait for the next try or leave the job to the next run."""
        await self._context.release([execution.job.key])
        if verdict.what == "halt_run" and not (verdict.http_status == 401 and self._has_new_key(key_version)):
            self._context.listener.halt(HaltError(verdict.message))
            self._backlog.leave(execution)
        else:
            self._backlog.put_back(execution, self._loop.time() + delay)

    def _has_new_key(self, used: int) -> bool:
        """Whether another key than the refused one is at hand; others that failed with it may have fetched it."""
        return self._context.api.key_version != used or self._context.api.reload_key()

    def _may_be_about_kind(self, outcome: Outcome, verdict: Verdict) -> bool:
        closed = self._context.kinds.was_closed_by(outcome.kind, verdict.http_status)
        return verdict.what == "kind_refused" or (closed and outcome.status == "rejected")

    async def _learn_of_kind(self, job: Job, outcome: Outcome, verdict: Verdict, started: float) -> None:
        """What this end tells of the other jobs of its kind."""
        kinds, kind = self._context.kinds, job.kind.name
        nameless = verdict.what == "accepted_id_unknown"  # to everybody: what answers is no such API
        if outcome.status == "sent":
            kinds.accepted(kind)
        elif verdict.http_status is not None and (nameless or self._is_considered(outcome, started)):
            kinds.refused(kind, verdict.http_status, person_of(job), outcome.problems[0].message)
        if outcome.status in ("sent", "rejected"):
            await self._forbidden.allowed(kind, started)

    def _is_considered(self, outcome: Outcome, started: float) -> bool:
        """Whether the API means what it said, and is not just out of order; a run that waits for ever waits for that,
        too."""
        waits = self._context.policy.max_outage == math.inf
        return outcome.status == "rejected" or (self._feedback.is_refusal(started) and not waits)
