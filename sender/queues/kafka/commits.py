"""The Commits of a member of a Kafka group: one is under way at a time; what changes meanwhile goes with the next.

A message is given out when it is committed that it is, so that whoever reads it after a death counts right.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException, TopicPartition

from sender.queues.kafka.client import error_of, is_lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from confluent_kafka import Consumer, KafkaError

    from sender.queues.kafka.partitions import Given, Partitions

RETRY: Final = 0.2
"""Seconds until a commit that failed is tried again."""
ANSWER_WITHIN: Final = 10.0
"""Seconds after which a commit that nobody answers is made again."""


class _Waiting:
    """Who waits for a commit: reads, whose messages are given out with it, and acknowledgements."""

    def __init__(self) -> None:
        self.reads: list[tuple[Future[Sequence[Given]], list[Given]]] = []
        self.acks: list[Future[None]] = []

    def add(self, other: _Waiting) -> None:
        """Whoever waits for the other one waits for this."""
        self.reads += other.reads
        self.acks += other.acks

    def take(self) -> tuple[list[tuple[Future[Sequence[Given]], list[Given]]], list[Future[None]]]:
        """(reads, acknowledgements); nobody waits any more."""
        taken, self.reads, self.acks = (self.reads, self.acks), [], []
        return taken


class Commits:
    """Used in the thread that owns the consumer."""

    def __init__(self, topic: str, partitions: Partitions) -> None:
        self._topic = topic
        self._partitions = partitions
        self._next, self._under_way = _Waiting(), _Waiting()
        self._sent: dict[int, tuple[int, str]] = {}
        """What the commit under way says of each partition."""
        self._sent_at = self._retry_at = 0.0

    @property
    def are_waited_for(self) -> bool:
        """Whether anybody waits for one."""
        return bool(self._sent or self._next.reads or self._next.acks)

    def give_out(self, read: Future[Sequence[Given]], given: list[Given]) -> None:
        """The read gets these as soon as it is committed that it does."""
        self._next.reads.append((read, given))

    def acknowledge(self, ack: Future[None]) -> None:
        """What is done by now is acknowledged with the next commit."""
        self._next.acks.append(ack)

    def launch(self, consumer: Consumer) -> None:
        """Commit what has changed, unless a commit is under way."""
        now = time.monotonic()
        if (self._sent and now < self._sent_at + ANSWER_WITHIN) or now < self._retry_at:
            return
        self._change_again()
        numbers = self._partitions.changed
        if not numbers:
            self._done(self._next)
            return
        self._next.add(self._under_way)
        self._next, self._under_way = _Waiting(), self._next
        offsets = self._offsets(numbers)
        self._sent, self._sent_at = _by_partition(offsets), now
        numbers.clear()
        consumer.commit(offsets=offsets, asynchronous=True)

    def answered(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """See the library's `on_commit`; the answer to any but the latest means nothing any more."""
        if not self._sent or _by_partition(offsets) != self._sent:
            return
        problem = error or _problem(offsets)
        if problem is None:
            self._sent = {}
            self._done(self._under_way)
        else:
            self._failed(problem)

    def at_once(self, consumer: Consumer) -> None:
        """Commit where the library cannot call us back: in a rebalance, and at the end."""
        self._change_again()
        offsets = self._offsets(self._partitions.changed)
        try:
            problem = _problem(consumer.commit(offsets=offsets, asynchronous=False)) if offsets else None
        except KafkaException as error:
            problem = error_of(error)
        if problem is not None:
            self._failed(problem)
            return
        self._partitions.changed.clear()
        self._done(self._under_way)
        self._done(self._next)

    def withhold(self, numbers: set[int]) -> None:
        """What is about to be given out of these partitions stays."""
        for waiting in (self._next, self._under_way):
            for _, given in waiting.reads:
                self._partitions.give_back(one.record.handle for one in given if one.record.partition in numbers)

    def fail(self, error: Exception) -> None:
        """Tell whoever waits; what is done is committed all the same as soon as it can be."""
        for waiting in (self._next, self._under_way):
            reads, acks = waiting.take()
            for read, given in reads:
                self._partitions.give_back(one.record.handle for one in given)
                refuse(read, error)
            for ack in acks:
                refuse(ack, error)

    def _change_again(self) -> None:
        """What a commit says of which nobody knows whether it stands."""
        self._partitions.changed |= set(self._sent) & self._partitions.numbers
        self._sent = {}

    def _failed(self, problem: KafkaError) -> None:
        """Try again soon, with whatever is ours then; a refusal is told."""
        self._change_again()
        self._retry_at = time.monotonic() + RETRY
        if not is_lost(KafkaException(problem)):
            self.fail(KafkaException(problem))

    def _done(self, waiting: _Waiting) -> None:
        """It stands: who waits for it goes on. What is another's by now is given to nobody."""
        reads, acks = waiting.take()
        for read, given in reads:
            read.set_result([one for one in given if self._partitions.has_in_hand(one.record.handle)])
        for ack in acks:
            ack.set_result(None)

    def _offsets(self, numbers: Iterable[int]) -> list[TopicPartition]:
        found = []
        for number in sorted(numbers):
            progress = self._partitions[number].progress
            text = progress.encode(self._partitions.topic_id)
            found.append(TopicPartition(self._topic, number, progress.base, text))
        return found


def refuse(waiting: Future[Any], error: Exception) -> None:
    """Tell whoever waits for this, unless something was told already."""
    if not waiting.done():
        waiting.set_exception(error)


def _by_partition(offsets: Iterable[TopicPartition]) -> dict[int, tuple[int, str]]:
    return {one.partition: (one.offset, one.metadata or "") for one in offsets}


def _problem(offsets: Iterable[TopicPartition]) -> KafkaError | None:
    return next((one.error for one in offsets if one.error is not None), None)
