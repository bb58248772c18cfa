"""InFlight: what a workspace has in hand, one record per identity, from the arrival of a message to its ack or requeue.

    start --> waiting --first request--> running --end is durable--> recorded --> acknowledged, or to the dead letter
                 |                          |                           |
                 +--------- requeue --------+                           +--> waiting: sent again after a doubt
                               |
                               v
                           requeued --message comes again--> waiting, running
                               |
                               +--the lane drops the job, or its end is durable--> (no record)

An identity is taken while its job is waiting, running or requeued: as long as it may start, or its end is not durable.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sender.engine.job_execution import JobExecution
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.queues import Message, Queue

State = Literal["waiting", "running", "recorded", "requeued"]
Joined = Literal["joined", "conflict", "unknown", "ask_again"]
"""`ask_again`: its end was recorded while the ledger was asked, whose answer may be older."""
Told = Literal["ack", "requeue"]
OVERHEAD: Final = 4096
"""Bytes that a message takes beside its line, which stands in it and in its job."""


@dataclass(slots=True, eq=False)
class UnackedMessage:
    """One message in hand."""

    queue: Queue
    message: Message
    since: float
    """Loop time at which it was read."""
    told: Told | None = None
    """What its broker was told of it: one of the two, once."""
    parked: bool = False
    """Whether it waits for something slow, a full lane or the dead letter: it takes memory, but no place of others."""
    line: int = 0
    """Its number as a line of input, for its outcome where it is a duplicate."""
    reason: Mapping[str, Any] | None = None
    """Why it goes to the dead letter though nothing was requested for it: its job ended so before."""
    size: int = field(init=False)
    """Bytes of memory that it takes."""

    def __post_init__(self) -> None:
        self.size = 2 * (len(self.message.data) + len(self.message.entry or b"")) + OVERHEAD


@dataclass(slots=True, eq=False)
class InFlightJob:
    """The record of one identity."""

    execution: JobExecution | None = None
    """None once its end is durable, and for messages that are no job."""
    messages: list[UnackedMessage] = field(default_factory=list)
    """Those that wait for its end."""
    left: bool = False
    """Whether its lane let go of it without an end: nothing of it starts any more."""

    @property
    def job(self) -> Job:
        """The job, while it waits, runs or was requeued."""
        if self.execution is None:
            raise ValueError("nothing of it is requested any more")
        return self.execution.job

    @property
    def may_be_accepted(self) -> bool:
        """Whether a request for it may have been accepted."""
        return self.execution is not None and self.execution.may_be_accepted

    @property
    def state(self) -> State:
        """Its place in the drawing above."""
        if self.execution is None:
            return "recorded"
        if not self.messages:
            return "requeued"
        return "running" if self.execution.attempts else "waiting"


class InFlight:
    """All of them, and the messages that are being closed: acknowledged, or requeued. It is the owner of their jobs."""

    def __init__(self) -> None:
        self._jobs: dict[str, InFlightJob] = {}
        self._closing: dict[UnackedMessage, None] = {}
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self._asked: Counter[str] = Counter()
        self._ended_meanwhile: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._jobs

    def __iter__(self) -> Iterator[UnackedMessage]:
        """All messages in hand, those that are being closed among them."""
        for record in list(self._jobs.values()):
            yield from record.messages
        yield from list(self._closing)

    def of(self, queue: Queue) -> int:
        """Number of messages of this queue."""
        return sum(one.queue is queue for one in self)

    def places_of(self, queue: Queue) -> int:
        """Number of messages of this queue that are not parked."""
        return sum(one.queue is queue and not one.parked for one in self)

    @property
    def parked(self) -> int:
        """Messages that wait for a full lane, or for the dead letter."""
        return sum(one.parked for one in self)

    @property
    def size(self) -> int:
        """Bytes of memory that all messages take."""
        return sum(one.size for one in self)

    def keys(self) -> list[str]:
        """Identities with messages that wait for an end, and messages that are no job."""
        return [key for key, record in self._jobs.items() if record.messages]

    def keys_of(self, messages: Collection[Message]) -> list[str]:
        """Identities for which one of these waits."""
        return [key for key, record in self._jobs.items() if any(one.message in messages for one in record.messages)]

    def unstarted(self) -> list[str]:
        """Identities of the jobs of which surely nothing was sent, the latest first."""
        return [key for key, one in self._latest() if one.state == "waiting"]

    def unsent(self) -> list[str]:
        """The same with those that were tried, and that their lanes let go of since surely nothing was accepted."""
        return [key for key, one in self._latest() if one.state == "waiting" or (one.left and not one.may_be_accepted)]

    def undecided(self) -> list[JobExecution]:
        """Jobs that were tried, whose messages wait for an end."""
        return [one.execution for _, one in self._latest() if one.execution is not None and one.state == "running"]

    def overdue(self, now: float) -> list[str]:
        """Identities with a message that its broker soon gives to another, whatever is done with it."""

        def late(one: UnackedMessage) -> bool:
            return one.queue.ack_timeout is not None and now - one.since > one.queue.ack_timeout

        return [key for key, record in self._jobs.items() if any(map(late, record.messages))]

    def park(self, lane: LaneName, number: int) -> None:
        """The latest jobs of this lane will not start soon."""
        waiting = [one for _, one in self._latest() if not one.left and one.job.kind.lane == lane]
        for message in (message for one in waiting[:number] for message in one.messages):
            message.parked = True

    def returns_freely(self, key: str) -> bool:
        """Whether no broker counts it against the messages of this job when they are given back."""
        return not any(one.queue.counts_returns for one in self._jobs[key].messages)

    @contextmanager
    def look_up(self, keys: Sequence[str]) -> Iterator[None]:
        """While the ledger is asked for these, and its answer is used."""
        self._asked.update(keys)
        try:
            yield
        finally:
            self._asked -= Counter(keys)
            self._ended_meanwhile.intersection_update(self._asked)

    def join(self, job: Job, message: UnackedMessage) -> Joined:
        """Add a message to a job that waits, runs or was requeued, if it is one."""
        record = self._jobs.get(job.key)
        if record is None or record.execution is None:
            return "ask_again" if job.key in self._ended_meanwhile else "unknown"
        if record.job.content != job.content:
            return "conflict"
        record.messages.append(message)
        return "joined"

    def start(self, execution: JobExecution, message: UnackedMessage | None = None) -> None:
        """A job begins to wait, with its first message or with those it has."""
        record = self._jobs.pop(execution.job.key, None) or InFlightJob()
        record.execution, record.left = execution, False
        if message is not None:
            record.messages.append(message)
        self._jobs[execution.job.key] = record

    def add(self, key: str, message: UnackedMessage) -> None:
        """A message that waits for the record of an end, or for a job in doubt to be resolved."""
        self.closed([message])
        self._jobs.setdefault(key, InFlightJob()).messages.append(message)

    def left_executions(self) -> list[JobExecution]:
        """Jobs that their lanes let go of without an end, and whose messages wait, the earliest first."""
        left = (one for one in self._jobs.values() if one.left and one.messages)
        return [one.execution for one in left if one.execution is not None]

    def drop_executions(self) -> None:
        """Their lanes are no more: nothing of them starts, and their messages wait for the record of an end."""
        for key, record in list(self._jobs.items()):
            record.execution, record.left = None, False
            if not record.messages:
                del self._jobs[key]

    def recorded(self, key: str) -> list[UnackedMessage]:
        """The job's end is durable: its messages, which are to be closed."""
        record = self._forget(key)
        return [] if record is None else self.close(record.messages)

    def only_message(self, key: str) -> UnackedMessage | None:
        """The job's message, where it has one, of which nothing else is to be said."""
        messages = self._jobs[key].messages if key in self._jobs else []
        return messages[0] if len(messages) == 1 and messages[0].reason is None else None

    def in_doubt(self, key: str) -> None:
        """The job's end is durable and in doubt: its messages stay until it is resolved."""
        record = self._forget(key)
        if record is not None and record.messages:
            self._jobs[key] = InFlightJob(messages=record.messages)

    def requeue(self, keys: Iterable[str]) -> list[UnackedMessage]:
        """The messages of these jobs, which are to be closed; jobs that wait are not started any more."""
        found: list[UnackedMessage] = []
        for key in keys:
            record = self._jobs.get(key)
            if record is not None:
                found += record.messages
                record.messages = []
                if record.left or record.execution is None:
                    self._forget(key)
        return self.close(found)

    def close(self, messages: Sequence[UnackedMessage]) -> list[UnackedMessage]:
        """These wait for nothing but to be acknowledged or requeued."""
        self._closing.update(dict.fromkeys(messages))
        self._update()
        return list(messages)

    def tell(self, messages: Iterable[UnackedMessage], what: Told) -> list[UnackedMessage]:
        """Those of which the broker was told nothing yet; it is told this of them now, and never the other."""
        fresh = [one for one in messages if one.told is None]
        for one in fresh:
            one.told = what
        return fresh

    def closed(self, messages: Iterable[UnackedMessage]) -> None:
        """The broker was told: these are in hand no more."""
        for one in messages:
            self._closing.pop(one, None)
        self._update()

    def closing(self) -> list[UnackedMessage]:
        """Messages that are to be closed, and of which the broker was told nothing yet."""
        return [one for one in self._closing if one.told is None]

    async def wait_closed(self) -> None:
        """Return when no message is to be closed."""
        await self._all_closed.wait()

    def may_start(self, execution: JobExecution) -> bool:
        """See `JobOwner`: not when its messages were requeued. They are parked no more."""
        record = self._jobs.get(execution.job.key)
        if record is None or record.execution is not execution:
            return False
        if not record.messages:
            self._forget(execution.job.key)
        for one in record.messages:
            one.parked = False
        return bool(record.messages)

    def lane_left(self, execution: JobExecution) -> None:
        """Its lane let go of it without an end, since its kind is refused: its messages stay in hand until the stop."""
        record = self._jobs.get(execution.job.key)
        if record is not None and record.execution is execution:
            record.left = True
            for one in record.messages:
                one.parked = True
            if not record.messages:
                self._forget(execution.job.key)

    def _latest(self) -> Iterator[tuple[str, InFlightJob]]:
        return ((key, one) for key, one in reversed(self._jobs.items()) if one.state in ("waiting", "running"))

    def _forget(self, key: str) -> InFlightJob | None:
        record = self._jobs.pop(key, None)
        if record is not None and record.execution is not None and key in self._asked:
            self._ended_meanwhile.add(key)
        return record

    def _update(self) -> None:
        if self._closing:
            self._all_closed.clear()
        else:
            self._all_closed.set()
