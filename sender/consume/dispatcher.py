"""The Dispatcher of a workspace: starts the jobs of messages, or ends messages by what the ledger knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sender.consume.memory import LOST_HORIZON
from sender.engine.admission import admit
from sender.engine.job_execution import JobExecution
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import FinishedJob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.consume.completer import Completer
    from sender.consume.in_flight import InFlight, UnackedMessage
    from sender.consume.lane_capacity import LaneCapacity
    from sender.consume.memory import Memory
    from sender.jobs.job import Job
    from sender.ledger import JobRecord
    from sender.runtime.tracing import Tracer
    from sender.session.session import Session


class Dispatcher:
    """Takes messages whose jobs are of its workspace."""

    def __init__(
        self, session: Session, memory: Memory, in_flight: InFlight, completer: Completer, capacity: LaneCapacity,
        tracer: Tracer, max_deliveries: int,
    ) -> None:
        self._session = session
        self._memory = memory
        self._in_flight = in_flight
        self._completer = completer
        self._capacity = capacity
        self._tracer = tracer
        self._max_deliveries = max_deliveries

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Returns the messages to be tried again later; raises HaltError when the ledger cannot be read."""
        keys = [job.key for job, _ in arrived]
        with self._in_flight.look_up(keys):
            found = await self._session.ledger.find(keys)
            return [message for job, message in arrived if not self._take_on(job, message, found.get(job.key))]

    def refuse(self, message: UnackedMessage, outcome: Outcome) -> None:
        """Record why a message is no job; then it goes to the dead letter."""
        key = f"message {message.message.source} {message.message.id}"
        self._in_flight.add(key, message)
        self._session.record(FinishedJob(outcome, None, key=key))

    def _take_on(self, job: Job, message: UnackedMessage, record: JobRecord | None) -> bool:
        """Whether the message has a place or an end; if not, another replica is at work on its job."""
        joined = self._in_flight.join(job, message)
        if joined == "conflict":
            self._refuse_conflict(job, message)
        if joined != "unknown":
            return joined != "ask_again"
        # One that failed was given up, and surely not accepted.
        if record is None or (record.state == "failed" and not record.owned_elsewhere):
            self._start(job, message)
            return True
        if record.owned_elsewhere or record.state == "handed_over":
            return False
        if admit(job, None, record, run=0) == "id_conflict":
            self._refuse_conflict(job, message)
        else:
            self._completer.known(job, message, record)
        return True

    def _start(self, job: Job, message: UnackedMessage) -> None:
        """Have its lane start a job of which nothing is known, unless something speaks against it.

        What a full lane cannot start soon is parked there: the reader goes by memory, and reads on for other lanes.
        """
        deliveries = message.message.deliveries
        if self._memory.forgot(message.message):
            self._doubt(job, message)
        elif deliveries > self._max_deliveries:
            text = f"it was delivered {deliveries - 1} times, and nobody came to an end with it"
            problem = Problem("too_many_deliveries", None, text)
            self.refuse(message, JobExecution(job).outcome("invalid", problem))
        else:
            message.parked = not self._capacity.places(job.kind.lane, job.priority)[0]
            span = self._tracer.begin(job.kind.name, job.kind.lane, message.message.headers)
            execution = JobExecution(job, owner=self._in_flight, span=span)
            self._in_flight.start(execution, message)
            self._session.submit(execution)

    def _doubt(self, job: Job, message: UnackedMessage) -> None:
        """Nobody knows whether it was sent before the shared state was lost."""
        now = time.time()
        execution = JobExecution(job, owner=self._in_flight, tried_at=now - LOST_HORIZON)
        problem = Problem("state_lost", None, "it was delivered before the shared state was lost")
        outcome = execution.outcome("in_doubt", problem, finished_at=now)
        self._in_flight.start(execution, message)
        self._session.record(FinishedJob(outcome, execution.entry(outcome)))

    def _refuse_conflict(self, job: Job, message: UnackedMessage) -> None:
        problem = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")
        self.refuse(message, Outcome(job.id, job.kind.name, "invalid", job.source, job.line, problems=(problem,)))
