"""Rebalances: partitions come to a member of a Kafka group with their gaps, and go when their jobs have ended.

The library calls this in the thread that polls it. `leaving` alone runs on the loop, and is waited for.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import KafkaException, TopicPartition

from sender.queues.kafka.client import WITHIN
from sender.queues.kafka.progress import PartitionProgress, is_of_another

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from confluent_kafka import Consumer

    from sender.queues.address import Address
    from sender.queues.kafka.commits import Commits
    from sender.queues.kafka.partitions import Handle, Partitions

    RebalanceCallback = Callable[[Consumer, list[TopicPartition]], None]

REVOKE_WITHIN: Final = 10.0
"""Seconds for jobs of a partition that is revoked to end; the group waits for that long, and takes 5 minutes."""

log = structlog.get_logger()


class Rebalances:
    """Of one consumer; `do_work` does what the loop asks for, and waits a moment for it."""

    def __init__(
        self, address: Address, partitions: Partitions, commits: Commits, do_work: Callable[[], None],
        leaving: Callable[[Sequence[Handle]], Coroutine[None, None, None]], loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.closing = False
        """Whether the consumer leaves: nothing is waited for then."""
        self.broken: Exception | None = None
        """What went wrong here: the library lets no exception of a callback out in a form that could be caught."""
        self._topic, self._shown = address.path, address.shown
        self._partitions = partitions
        self._commits = commits
        self._do_work = do_work
        self._leaving = leaving
        self._loop = loop
        self._dropped: set[int] = set()

    def join(self, consumer: Consumer) -> None:
        """Have it get its share of the topic."""
        consumer.subscribe(
            [self._topic], on_assign=self._kept(self._assigned), on_revoke=self._kept(self._revoked),
            on_lost=self._kept(self._lost),
        )

    def take_dropped(self) -> set[int]:
        """Partitions that went since the last call."""
        taken, self._dropped = self._dropped, set()
        return taken

    def _kept(self, callback: RebalanceCallback) -> RebalanceCallback:
        def call(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            try:
                callback(consumer, partitions)
            except Exception as error:  # noqa: BLE001 - raised in the next step
                self.broken = error

        return call

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Go on where the group stands, with its gaps."""
        starts = []
        for one in consumer.committed(partitions, timeout=WITHIN):
            if one.error is not None:
                raise KafkaException(one.error)
            low, high = consumer.get_watermark_offsets(one, timeout=WITHIN)
            progress = self._begin(one, low, high)
            self._partitions.add(one.partition, progress)
            starts.append(TopicPartition(self._topic, one.partition, progress.base))
        consumer.incremental_assign(starts)
        consumer.resume(starts)  # the library may remember a pause from when they were ours before

    def _begin(self, committed: TopicPartition, low: int, high: int) -> PartitionProgress:
        base = committed.offset
        if is_of_another(committed.metadata, self._partitions.topic_id):
            log.warning("what the group had done was done in another topic of this name; this one is read from its "
                        "front", queue=self._shown, partition=committed.partition)
            return PartitionProgress(low)
        if low <= base <= high:
            return PartitionProgress.decode(base, committed.metadata)
        if base >= 0:
            log.warning(
                "messages are gone that nobody had come to an end with: the topic's retention deleted them, or it was "
                "made anew", queue=self._shown, partition=committed.partition, stood_at=base, begins_at=low,
            )
        return PartitionProgress(low)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Jobs of these end, or go back, before they are another's."""
        numbers = {one.partition for one in partitions}
        self._withhold(numbers)
        if not self.closing:
            self._let_end(consumer, numbers)
            self._commits.at_once(consumer)
        consumer.incremental_unassign(partitions)
        self._drop(numbers)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """These are another's already: nothing more of them starts."""
        numbers = {one.partition for one in partitions}
        self._withhold(numbers)
        if handles := self._partitions.in_hand(numbers):
            log.warning("the group has taken partitions from us that it thought dead", queue=self._shown)
            asyncio.run_coroutine_threadsafe(self._leaving(handles), self._loop)
        consumer.incremental_unassign(partitions)
        self._drop(numbers)

    def _withhold(self, numbers: set[int]) -> None:
        """Nothing more of these is given out."""
        self._commits.withhold(numbers)
        self._partitions.clear_waiting(numbers)

    def _drop(self, numbers: set[int]) -> None:
        self._partitions.drop(numbers)
        self._dropped |= numbers

    def _let_end(self, consumer: Consumer, numbers: set[int]) -> None:
        """Until no job of these is in hand, or the time is over; what was handed over stands in the ledger anyway."""
        handles = self._partitions.in_hand(numbers)
        if not handles:
            return
        leaving = asyncio.run_coroutine_threadsafe(self._leaving(handles), self._loop)
        ends = time.monotonic() + REVOKE_WITHIN
        while self._partitions.in_hand(numbers) and not leaving.done() and time.monotonic() < ends:
            self._do_work()
            self._withhold(numbers)  # what was given back is not for us
            self._commits.at_once(consumer)
