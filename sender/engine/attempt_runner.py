"""The AttemptRunner of a lane: one try of one job, from its permit to what follows from the answer.

send --> observe --> judge --> the lane learns --> decide --> outcome, or back to the backlog
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.engine.api_reader import ReadingFailedError
from sender.engine.decision import Attempt, decide
from sender.errors import HaltError
from sender.jobs.masking import words_of
from sender.jobs.problem import Problem
from sender.outcomes.recorder import FinishedJob
from sender.transport import Reply, Request, TransportFault, Wire
from sender.transport.verdict import judge

if TYPE_CHECKING:
    from sender.engine.attempt_pool import InFlightAttempt
    from sender.engine.backlog import Backlog
    from sender.engine.feedback import ResponseFeedback
    from sender.engine.job_execution import JobExecution
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import LaneContext
    from sender.engine.trigger_follower import TriggerFollower
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
        queue: JobQueue,
        backlog: Backlog,
        feedback: ResponseFeedback,
        triggers: TriggerFollower | None = None,
    ) -> None:
        self._name = name
        self._context = context
        self._queue = queue
        self._backlog = backlog
        self._feedback = feedback
        self._triggers = triggers
        self._loop = asyncio.get_running_loop()
        self._unix_offset = float("-inf")

    async def attempt(self, attempt: InFlightAttempt) -> None:
        """Try once, and see to what follows."""
        attempt.begun = True
        execution, permit = attempt.execution, attempt.permit
        execution.attempts += 1
        execution.tried_at = self._context.wall()
        if execution.started_at is None:
            execution.started_at = execution.tried_at
        key_version = self._context.api.key_version
        wire = Wire(on_written=permit.written)
        answer: Reply | TransportFault
        try:
            answer = await self._send(execution, wire)
        except TransportFault as fault:
            answer = fault
        except asyncio.CancelledError:
            permit.cancel()
            await asyncio.shield(self._interrupted(execution, wire))
            raise
        permit.cancel()
        await self._judge(execution, answer, attempt.started, key_version)

    async def _send(self, execution: JobExecution, wire: Wire) -> Reply:
        job = execution.job
        try:
            return await self._context.api.send(Request(job.kind.method, job.path, job.body), wire)
        finally:
            if wire.written_at is not None:
                execution.written_at = self._unix(wire.written_at)

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
        await self._end(execution, execution.outcome("in_doubt", problem, finished_at=self._context.wall()))

    async def _judge(
        self, execution: JobExecution, answer: Reply | TransportFault, started: float, key_version: int
    ) -> None:
        latency = answer.answered_at - answer.written_at if isinstance(answer, Reply) else None
        self._observe(execution, answer, latency)
        verdict = judge(execution.job.kind, answer, self._context.policy.rules, wall=self._context.wall())
        self._feedback.learn(verdict, latency, started)
        body = answer.body if isinstance(answer, Reply) else None
        attempt = Attempt(execution, verdict, latency, body, outage=self._feedback.outage)
        if self._triggers is not None and verdict.what == "rejected":
            attempt = await self._ask_why(attempt, self._triggers)
        decision = decide(attempt, self._context.policy, self._context.wall())
        execution.tries, execution.refusals = decision.tries, decision.refusals
        if decision.outcome is not None:
            await self._end(execution, decision.outcome, resendable=decision.resendable)
        else:
            await self._again(execution, verdict, decision.delay, key_version)

    def _observe(self, execution: JobExecution, answer: Reply | TransportFault, latency: float | None) -> None:
        status = answer.status if isinstance(answer, Reply) else answer.code
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
            details = await triggers.errors_of(job.path_ids[0], verdict.error.trigger_id, words_of(job.body))
        except (ReadingFailedError, asyncio.CancelledError):  # the refusal itself is known, and has to be recorded
            return attempt
        return attempt._replace(details=details)

    async def _again(self, execution: JobExecution, verdict: Verdict, delay: float, key_version: int) -> None:
        """Nothing was accepted: say so in the ledger, then wait for the next try or leave the job to the next run."""
        await self._context.release([execution.job.key])
        if verdict.what == "halt_run" and not (verdict.http_status == 401 and self._has_new_key(key_version)):
            self._context.listener.halt(HaltError(verdict.message))
            self._backlog.leave(execution)
        elif verdict.what == "kind_refused" and self._context.kinds.refuse(execution.job.kind.name):
            self._backlog.leave(execution)
        else:
            self._backlog.put_back(execution, self._loop.time() + delay)

    def _has_new_key(self, used: int) -> bool:
        """Whether another key than the refused one is at hand; others that failed with it may have fetched it."""
        return self._context.api.key_version != used or self._context.api.reload_key()

    async def _end(self, execution: JobExecution, outcome: Outcome, *, resendable: bool = True) -> None:
        execution.doubted = outcome.status == "in_doubt"
        self._context.kinds.passed(execution.job.kind.name)
        self._queue.finish(execution)
        listener = self._context.listener
        listener.record(FinishedJob(outcome, execution.entry(outcome, resendable=resendable)))
        await listener.job_ended(execution, outcome, resendable=resendable)
