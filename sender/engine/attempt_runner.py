"""The AttemptRunner of a lane: one try of one job, from its permit to what follows from the answer.

begin --> answered: observe --> judge --> the lane learns --> decide --> outcome, or back to the backlog

It runs in callbacks of the loop: only what waits for the ledger or the API is a coroutine.
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
from sender.transport import WITHHELD, Reply, Request, TransportFault
from sender.transport.verdict import judge

if TYPE_CHECKING:
    from sender.engine.attempt_pool import InFlightAttempt, Work
    from sender.engine.backlog import Backlog
    from sender.engine.decision import Decision
    from sender.engine.feedback import ResponseFeedback
    from sender.engine.forbidden_jobs import ForbiddenJobs
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import LaneContext
    from sender.engine.trigger_follower import TriggerFollower
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.outcomes.outcome import Outcome
    from sender.transport import OnEnd, UnderWay, Wire
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

    def begin(self, attempt: InFlightAttempt, on_end: OnEnd) -> UnderWay:
        """Have its request written."""
        execution, wire = attempt.execution, attempt.wire
        execution.begin(self._context.wall(), self._context.clock.steps)
        attempt.key_version = self._context.api.key_version
        wire.on_written = attempt.permit.written
        if execution.job.expires_at is not None:
            wire.may_write = lambda: not execution.expired(self._context.wall())
        job = execution.job
        return self._context.api.start(Request(job.kind.method, job.path, execution.body), wire, on_end)

    def answered(self, attempt: InFlightAttempt, answer: Reply | BaseException) -> Work | None:
        """See to what follows; returns what is left to do, where that takes time."""
        self._note_written(attempt)
        if isinstance(answer, TransportFault) and answer.code == WITHHELD:
            return self._withheld(attempt.execution)
        if isinstance(answer, Reply | TransportFault):
            return self._judge(attempt, answer)
        raise answer

    def interrupted(self, attempt: InFlightAttempt) -> Work:
        """Nobody waits for its answer any more: what is left to do."""
        self._note_written(attempt)
        return self._interrupted(attempt.execution, attempt.wire)

    def _note_written(self, attempt: InFlightAttempt) -> None:
        """The request is over, and was written or not."""
        execution, written_at = attempt.execution, attempt.wire.written_at
        execution.files_read = None  # another try reads them again: files of all jobs under way would fill memory
        if written_at is None:
            attempt.permit.cancel()
        else:
            execution.written_at = self._unix(written_at)

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
        outcome = execution.outcome("in_doubt", problem, finished_at=self._context.wall())
        self._backlog.end(execution, outcome)
        if self._triggers is not None:
            await self._triggers.ended(execution, outcome)

    def _judge(self, under_way: InFlightAttempt, answer: Reply | TransportFault) -> Work | None:
        execution, started = under_way.execution, under_way.started
        latency = answer.answered_at - answer.written_at if isinstance(answer, Reply) else None
        self._observe(execution, answer, latency)
        verdict = judge(execution.job.kind, answer, self._context.policy.rules, wall=self._context.wall())
        self._feedback.learn(verdict, latency, started)
        body = answer.body if isinstance(answer, Reply) else None
        attempt = Attempt(execution, verdict, latency, body, outage=self._feedback.outage)
        if self._triggers is not None:
            return self._conclude_trigger(under_way, attempt, self._triggers)
        return self._conclude(under_way, verdict, self._decide(attempt))

    async def _conclude_trigger(
        self, under_way: InFlightAttempt, attempt: Attempt, triggers: TriggerFollower
    ) -> None:
        if attempt.verdict.what == "rejected":
            under_way.interruptible = True
            attempt = await self._ask_why(attempt, triggers)
            under_way.interruptible = False
        decision = self._decide(attempt)
        rest = self._conclude(under_way, attempt.verdict, decision)
        if rest is not None:
            await rest
        elif decision.outcome is not None:
            await triggers.ended(attempt.execution, decision.outcome)

    def _decide(self, attempt: Attempt) -> Decision:
        decision, execution = decide(attempt, self._context.policy, self._context.wall()), attempt.execution
        execution.tries, execution.refusals = decision.tries, decision.refusals
        if attempt.verdict.doubtful:
            execution.doubt()
        return decision

    def _conclude(self, under_way: InFlightAttempt, verdict: Verdict, decision: Decision) -> Work | None:
        execution, outcome = under_way.execution, decision.outcome
        if outcome is None:
            return self._again(execution, verdict, decision.delay, under_way.key_version)
        if self._may_be_about_kind(outcome, verdict):
            return self._hold(ForbiddenJob(execution, outcome, under_way.started))
        self._backlog.end(execution, outcome, resendable=decision.resendable)
        self._learn_of_kind(execution.job, outcome, verdict, under_way.started)
        return None

    async def _hold(self, job: ForbiddenJob) -> None:
        await self._context.release([job.execution.job.key])
        self._forbidden.hold(job)

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

    def _learn_of_kind(self, job: Job, outcome: Outcome, verdict: Verdict, started: float) -> None:
        """What this end tells of the other jobs of its kind."""
        kinds, kind = self._context.kinds, job.kind.name
        nameless = verdict.what == "accepted_id_unknown"  # to everybody: what answers is no such API
        if outcome.status == "sent":
            kinds.accepted(kind)
        elif verdict.http_status is not None and (nameless or self._is_considered(outcome, started)):
            kinds.refused(kind, verdict.http_status, person_of(job), outcome.problems[0].message)
        if outcome.status in ("sent", "rejected"):
            self._forbidden.allowed(kind, started)

    def _is_considered(self, outcome: Outcome, started: float) -> bool:
        """Whether the API means what it said, and is not just out of order; a run that waits for ever waits for that,
        too."""
        waits = self._context.policy.max_outage == math.inf
        return outcome.status == "rejected" or (self._feedback.is_refusal(started) and not waits)
