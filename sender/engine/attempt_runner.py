"""The Executor of a lane: one try of one job, from its turn to what follows from the answer.

send --> observe --> judge --> the lane learns --> conclude --> outcome, or back to the backlog
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.engine.api_reader import ReadingFailedError
from sender.engine.decision import Attempt, conclude
from sender.errors import HaltError
from sender.jobs.masking import words_of
from sender.jobs.problem import Problem
from sender.outcomes.recorder import Ended
from sender.transport import Reply, Request, TransportFault, Wire
from sender.transport.verdict import judge

if TYPE_CHECKING:
    from sender.engine.attempt_pool import Hand
    from sender.engine.backlog import Backlog
    from sender.engine.feedback import Governor
    from sender.engine.job_execution import Delivery
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import Desk
    from sender.engine.trigger_follower import Triggers
    from sender.jobs.kinds import LaneName
    from sender.outcomes.outcome import Outcome
    from sender.transport.verdict import Verdict

REFUSALS_OF_A_KIND: Final = 3


class Executor:
    """Carries attempts out."""

    def __init__(
        self,
        name: LaneName,
        desk: Desk,
        queue: JobQueue,
        backlog: Backlog,
        governor: Governor,
        triggers: Triggers | None = None,
    ) -> None:
        self._name = name
        self._desk = desk
        self._queue = queue
        self._backlog = backlog
        self._governor = governor
        self._triggers = triggers
        self._loop = asyncio.get_running_loop()

    async def attempt(self, hand: Hand) -> None:
        """Try once, and see to what follows."""
        hand.begun = True
        delivery, turn = hand.delivery, hand.turn
        job = delivery.job
        delivery.attempts += 1
        delivery.tried_at = self._desk.wall()
        if delivery.started_at is None:
            delivery.started_at = delivery.tried_at
        key_version = self._desk.key.version
        wire = Wire(on_written=turn.written)
        answer: Reply | TransportFault
        try:
            answer = await self._desk.transport.send(Request(job.kind.method, job.path, job.body), wire)
        except TransportFault as fault:
            answer = fault
        except asyncio.CancelledError:
            turn.give_back()
            await asyncio.shield(self._interrupted(delivery, wire))
            raise
        turn.give_back()
        await self._judge(delivery, answer, hand.started, key_version)

    async def _interrupted(self, delivery: Delivery, wire: Wire) -> None:
        if wire.written_at is None:
            await self._desk.ledger.release([delivery.job.key])
            self._backlog.leave(delivery)
            return
        problem = Problem("interrupted", None, "the run was stopped before the API's answer came")
        await self._end(delivery, delivery.outcome("in_doubt", problem, finished_at=self._desk.wall()))

    async def _judge(
        self, delivery: Delivery, answer: Reply | TransportFault, started: float, key_version: int
    ) -> None:
        latency = answer.answered_at - answer.written_at if isinstance(answer, Reply) else None
        self._observe(delivery, answer, latency)
        verdict = judge(delivery.job.kind, answer, self._desk.rules, wall=self._desk.wall())
        self._governor.learn(verdict, latency, started)
        body = answer.body if isinstance(answer, Reply) else None
        attempt = Attempt(delivery, verdict, latency, body, outage=self._governor.outage)
        if self._triggers is not None and verdict.what == "rejected":
            attempt = await self._ask_why(attempt, self._triggers)
        conclusion = conclude(attempt, self._desk)
        if conclusion.outcome is not None:
            await self._end(delivery, conclusion.outcome, resendable=conclusion.resendable)
        else:
            await self._again(delivery, verdict, conclusion.delay, key_version)

    def _observe(self, delivery: Delivery, answer: Reply | TransportFault, latency: float | None) -> None:
        status = answer.status if isinstance(answer, Reply) else answer.code
        self._desk.observer.observe_attempt(self._name, delivery.job.kind.name, status, latency)
        delivery.span.attempt(status, latency)

    async def _ask_why(self, attempt: Attempt, triggers: Triggers) -> Attempt:
        """A refused trigger: either the queue is full, which is safe, or its errors endpoint knows more."""
        verdict = attempt.verdict
        if verdict.queue_full and triggers.waiting:
            triggers.told_full()
            return attempt._replace(queue_full=True)
        if verdict.error.trigger_id is None:
            return attempt
        job = attempt.delivery.job
        try:
            details = await triggers.errors_of(job.path.split("/")[3], verdict.error.trigger_id, words_of(job.body))
        except (ReadingFailedError, asyncio.CancelledError):  # the refusal itself is known, and has to be recorded
            return attempt
        return attempt._replace(details=details)

    async def _again(self, delivery: Delivery, verdict: Verdict, delay: float, key_version: int) -> None:
        """Nothing was accepted: say so in the ledger, then wait for the next try or leave the job to the next run."""
        await self._desk.ledger.release([delivery.job.key])
        if verdict.what == "halt_run" and not (verdict.http_status == 401 and self._has_new_key(key_version)):
            self._backlog.leave(delivery)
            self._desk.halt(HaltError(verdict.message))
        elif verdict.what == "kind_refused" and self._refuse_kind(delivery.job.kind.name):
            self._backlog.leave(delivery)
        else:
            self._backlog.put_back(delivery, self._loop.time() + delay)

    def _has_new_key(self, used: int) -> bool:
        """Whether another key than the refused one is at hand; others that failed with it may have fetched it."""
        return self._desk.key.version != used or self._desk.key.reload()

    def _refuse_kind(self, kind: str) -> bool:
        refused = self._desk.refused_kinds[kind] = self._desk.refused_kinds.get(kind, 0) + 1
        if refused >= REFUSALS_OF_A_KIND:
            self._desk.halted_kinds.add(kind)
        return kind in self._desk.halted_kinds

    async def _end(self, delivery: Delivery, outcome: Outcome, *, resendable: bool = True) -> None:
        delivery.doubted = outcome.status == "in_doubt"
        if outcome.kind in self._desk.refused_kinds:
            self._desk.refused_kinds[outcome.kind] = 0
        self._queue.finish(delivery)
        self._desk.record(Ended(outcome, delivery.entry(outcome, resendable=resendable)))
        await self._desk.on_end(delivery, outcome, resendable)
