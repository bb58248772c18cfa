"""The Dispatcher of a workspace: starts the jobs of messages, or ends messages by what the ledger knows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from sender.consume.memory import LOST_HORIZON
from sender.engine.admission import admit
from sender.engine.job_execution import JobExecution
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import FinishedJob
from sender.queues.queue import REDRIVE

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from sender.consume.completer import Completer
    from sender.consume.in_flight import InFlight, UnackedMessage
    from sender.consume.lane_capacity import LaneCapacity
    from sender.consume.memory import Memory
    from sender.jobs.job import Job
    from sender.ledger import JobRecord
    from sender.runtime.tracing import Tracer
    from sender.session.session import Session

log = structlog.get_logger()


class Dispatcher:
    """Takes messages whose jobs are of its workspace."""

    def __init__(
        self, session: Session, memory: Memory, in_flight: InFlight, completer: Completer, capacity: LaneCapacity,
        tracer: Tracer, max_deliveries: int, retry: Container[str] = (),
    ) -> None:
        self._session = session
        self._memory = memory
        self._in_flight = in_flight
        self._completer = completer
        self._capacity = capacity
        self._tracer = tracer
        self._max_deliveries = max_deliveries
        self._retry = retry
        """States of jobs that are tried again, on the operator's word."""
        self._told_unidentified = False

    async def take_on(self, arrived: Sequence[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        """Returns the messages to be tried again later; raises HaltError when the ledger cannot be read."""
        earlier = self._memory.earlier
        keys = [job.key for job, _ in arrived]
        keys += [key for job, message in arrived for key in earlier.of(job, message)]
        with self._in_flight.look_up(keys):
            found = await self._session.ledger.find(keys)
            if self._session.ended or not self._memory.settled:  # meanwhile: nothing may be started now
                return [message for _, message in arrived]
            known = [(earlier.known_as(job, message, found), message) for job, message in arrived]
            return [message for job, message in known if not self._take_on(job, message, found.get(job.key))]

    def refuse(self, message: UnackedMessage, outcome: Outcome) -> None:
        """Record why a message is no job; then it goes to the dead letter."""
        key = f"message {message.message.source} {message.message.id}"
        self._in_flight.add(key, message)
        self._session.record(FinishedJob(outcome, None, key=key))

    def _take_on(self, job: Job, message: UnackedMessage, record: JobRecord | None) -> bool:
        """Whether the message has a place or an end; if not, another replica is at work on its job."""
        self._tell_unidentified(job, message)
        message.line = job.line
        joined = self._in_flight.join(job, message)
        if joined == "conflict":
            self._refuse_conflict(job, message)
        if joined != "unknown":
            return joined != "ask_again"
        if record is None or self._is_tried_again(message, record):
            self._start(job, message)
            return True
        if record.owned_elsewhere or record.state == "handed_over":
            return False
        if admit(job, None, record, run=0) == "id_conflict":
            self._refuse_conflict(job, message)
        else:
            self._completer.known(job, message, record)
        return True

    def _is_tried_again(self, message: UnackedMessage, record: JobRecord) -> bool:
        """One that failed was given up, and surely not accepted; one that was refused is tried on somebody's word."""
        if record.owned_elsewhere or record.state not in ("failed", "rejected"):
            return False
        return record.state == "failed" or "rejected" in self._retry or REDRIVE in message.message.headers

    def _tell_unidentified(self, job: Job, message: UnackedMessage) -> None:
        """Once in words, and counted: equal messages are one job where they have no id."""
        if job.id != job.key or message.message.identity is not None or message.line:
            return  # one that is tried again has its line
        self._session.workspace.observer.observe_unidentified()
        if not self._told_unidentified:
            log.warning(
                "messages come without an id: they are known by their content, and two that are equal are sent once; "
                "give jobs an id, or messages a message_id", queue=message.message.source,
            )
        self._told_unidentified = True

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
        execution = JobExecution(job, owner=self._in_flight)
        self._in_flight.start(execution, message)
        self._session.record(lost_outcome(execution, now))

    def _refuse_conflict(self, job: Job, message: UnackedMessage) -> None:
        problem = Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id")
        self.refuse(message, Outcome(job.id, job.kind.name, "invalid", job.source, job.line, problems=(problem,)))


def lost_outcome(execution: JobExecution, now: float) -> FinishedJob:
    """The end of a job of which nobody knows, at these unix seconds, whether it was sent before a state was lost."""
    problem = Problem("state_lost", None, "it was delivered before the shared state was lost")
    if execution.tried_at is None:
        execution.tried_at = now - LOST_HORIZON
    outcome = execution.outcome("in_doubt", problem, finished_at=now)
    return FinishedJob(outcome, execution.entry(outcome))
