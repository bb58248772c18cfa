"""Letters of a Kafka topic. It lets nothing be taken out of it: which letters were is kept with a group of its own, in
its offsets and their metadata as a consumer's progress is. Retention deletes them in the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from sender.queues.broker_connection import BrokerConnection
from sender.queues.kafka.client import KafkaSettings, Trouble, ends_of, find_topic, is_lost, progress_of
from sender.queues.kafka.progress import PartitionProgress
from sender.queues.letters.letter_box import PAGE, Letter, LetterBox, read_reason
from sender.queues.message_identity import carried

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from confluent_kafka import Message as KafkaMessage

GROUP: Final = "sender-letters"
REASON: Final = "x-sender-reason"
QUIET: Final = 5.0
"""Seconds without a further letter after which the cluster is taken to be away."""
END: Final = KafkaError._PARTITION_EOF

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class LettersClient:
    """A consumer that belongs to no group's members, and what was taken out by now."""

    consumer: Consumer
    partitions: tuple[int, ...]
    progress: dict[int, PartitionProgress] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """Of the partitions that are not read to the end: where that was in the beginning."""


class KafkaLettersConnection(BrokerConnection[LettersClient]):
    """Connected once for each look at the letters."""

    async def _connect(self) -> LettersClient:
        return await asyncio.to_thread(self._open)

    def _open(self) -> LettersClient:
        trouble, topic = Trouble(), self.address.path
        settings = KafkaSettings(self.address, trouble)
        consumer = Consumer(settings.of(
            "consumer", group_id=GROUP, enable_auto_commit=False, enable_auto_offset_store=False,
            auto_offset_reset="earliest", enable_partition_eof=True, isolation_level="read_committed",
        ))
        partitions, _ = find_topic(consumer, self.address.shown, topic, trouble)
        return LettersClient(consumer, partitions)

    async def _disconnect(self, client: LettersClient) -> None:
        await asyncio.to_thread(client.consumer.close)

    def _is_lost(self, error: Exception) -> bool | None:
        return is_lost(error)


class KafkaLetters(LetterBox[LettersClient]):
    """See `LetterBox`."""

    connection_type = KafkaLettersConnection

    async def _begin(self, client: LettersClient) -> None:
        await asyncio.to_thread(self._find, client)

    def _find(self, client: LettersClient) -> None:
        topic = self.address.path
        known = progress_of(client.consumer, topic, client.partitions)
        begins = ends_of(client.consumer, topic, client.partitions, first=True)
        ends = ends_of(client.consumer, topic, client.partitions)
        for number in client.partitions:
            found = known.get(number)
            inside = found is not None and begins[number] <= found.base <= ends[number]
            client.progress[number] = found if found and inside else PartitionProgress(begins[number])
        starts = {number: one.base for number, one in client.progress.items()}
        client.ends = {number: end for number, end in ends.items() if starts[number] < end}
        client.consumer.assign([TopicPartition(topic, number, starts[number]) for number in client.ends])

    async def _read(self, client: LettersClient) -> list[Letter]:
        return await asyncio.to_thread(self._page, client)

    def _page(self, client: LettersClient) -> list[Letter]:
        letters: list[Letter] = []
        while client.ends and len(letters) < PAGE:
            found = client.consumer.poll(QUIET)
            if found is None:
                raise TimeoutError
            letters += self._look_at(client, found)
        return letters

    def _look_at(self, client: LettersClient, found: KafkaMessage) -> list[Letter]:
        number, offset, error = found.partition() or 0, found.offset() or 0, found.error()
        if error is not None and error.code() != END:
            raise KafkaException(error)
        end = client.ends.get(number, 0)
        if error is not None or offset >= end - 1:
            client.ends.pop(number, None)
        if error is not None or offset >= end or not client.progress[number].see(offset):
            return []
        told: Any = found.headers() or ()
        headers = {name: text for name, text in told if isinstance(text, bytes)}
        return [Letter(found.value() or b"", read_reason(headers.get(REASON)), (number, offset), carried(headers))]

    async def _remove(self, client: LettersClient, letters: Sequence[Letter]) -> None:
        for number, offset in (letter.handle for letter in letters):
            client.progress[number].finish(offset)
        numbers = sorted({letter.handle[0] for letter in letters})
        offsets = [self._offset(number, client.progress[number]) for number in numbers]
        for one in await asyncio.to_thread(lambda: client.consumer.commit(offsets=offsets, asynchronous=False)):
            if one.error is not None:
                raise KafkaException(one.error)

    def _offset(self, number: int, progress: PartitionProgress) -> TopicPartition:
        text = progress.encode()
        again = PartitionProgress.decode(progress.base, text).unfinished - progress.unfinished
        if again > 0:
            log.warning(
                "more letters lie between those that were taken out than Kafka can keep apart: some that were taken "
                "out are seen again", letters=again, queue=self.shown,
            )
        return TopicPartition(self.address.path, number, progress.base, text)
