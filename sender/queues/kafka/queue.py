"""Apache Kafka (confluent-kafka): a consumer group's share of one topic; the message's value is the job line.

Jobs end out of order. The group's offset stands before the first message without an end, and the metadata of the commit
tell what is done behind it, and how often the rest was given out (`sender.queues.kafka.progress`). A message that is
given back waits at its place in its partition: whoever reads the partition gets it next.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sender.queues.broker_connection import BrokerConnection
from sender.queues.broker_queue import HEAD, BrokerQueue
from sender.queues.kafka.client import ends_of, is_lost, progress_of
from sender.queues.kafka.member import GroupMember
from sender.queues.queue import Message, QueueLost, trace_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sender.queues.address import Address
    from sender.queues.kafka.partitions import Given, Handle
    from sender.queues.kafka.progress import PartitionProgress
    from sender.queues.queue import QueueOrigins, RequeueCounts

SHORTEST_SESSION: Final = 6.0
"""Seconds; brokers take no less unless told otherwise (`group.min.session.timeout.ms`)."""
LONGEST_SESSION: Final = 10.0
"""Seconds; a group that takes in another reader waits for a dead one that long, and the library's own thread says that
we live."""
LEFT_WITHIN: Final = 12.0
"""Seconds after which messages of a partition that was revoked are another's, whatever their jobs do."""

log = structlog.get_logger()


class KafkaConnection(BrokerConnection[GroupMember]):
    """The library mends broken connections by itself; only a member that has ended is made anew."""

    def __init__(
        self, address: Address, prepare: Callable[[GroupMember], Awaitable[None]] | None = None,
        make: Callable[[], GroupMember] | None = None,
    ) -> None:
        super().__init__(address, prepare)
        self.make = make
        self._closing = False

    async def aclose(self) -> None:
        """Leave the group."""
        self._closing = True
        await super().aclose()
        self._closing = False

    async def _connect(self) -> GroupMember:
        assert self.make is not None  # noqa: S101 - the queue gives it
        member = self.make()
        await member.start()
        return member

    async def _disconnect(self, client: GroupMember) -> None:
        client.stop()
        await asyncio.shield(asyncio.wrap_future(client.over))

    async def _drop(self, client: GroupMember | None) -> None:
        if client is not None and (client.ended or self._closing):
            await super()._drop(client)

    def _is_lost(self, error: Exception) -> bool | None:
        return is_lost(error)


class KafkaQueue(BrokerQueue[GroupMember]):
    """A group's share of one topic; a reader has whole partitions, and only it gets their messages."""

    counts_returns = True
    connection_type = KafkaConnection

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        super().__init__(address, in_hand, return_after, requeue_counts, origins)
        self.session = min(max(SHORTEST_SESSION, return_after), LONGEST_SESSION)
        """Seconds after which the group gives a dead reader's partitions to others."""
        self._topic = address.path
        self._topic_id: str | None = None
        assert isinstance(self._connection, KafkaConnection)  # noqa: S101
        self._connection.make = self._member

    def _member(self) -> GroupMember:
        return GroupMember(self.address, self.session, (self._largest, HEAD), self._leaving)

    async def _prepare(self, client: GroupMember) -> None:
        """Messages of a topic that is no more mean nothing to one that has its name."""
        if self._topic_id not in (None, client.topic.id):
            log.warning("the topic was made anew; it is read from its front", queue=self.source)
            self._release(list(self._in_hand.values()))
        self._topic_id = client.topic.id

    async def _read(self, client: GroupMember, room: int) -> list[Message]:
        return [self._message(client, one) for one in await client.read(room, self.read_bytes, self._wait)]

    def _message(self, client: GroupMember, given: Given) -> Message:
        record = given.record
        place = f"{record.partition}/{record.offset}"
        return Message(
            source=self.source, id=f"{self._topic}/{place}",
            identity=self._identity(f"{client.topic.id}/{place}", record.headers), data=record.value,
            deliveries=given.deliveries, handle=record.handle, connection=client, priority=self.address.priority,
            key=record.key, headers=trace_context(record.headers),
            unread=record.size if record.size > len(record.value) else 0,
        )

    async def _ack(self, client: GroupMember, batch: list[Message]) -> None:
        await client.finish([one.handle for one in batch])

    async def _requeue(self, client: GroupMember, batch: list[Message], delay: float) -> None:
        await client.give_back([one.handle for one in batch], delay)

    async def _keep(self, client: GroupMember, batch: list[Message]) -> None:
        """A partition stays with its member as long as that polls."""

    async def _leave(self, client: GroupMember) -> None:
        await client.leave()

    async def _leaving(self, handles: Sequence[Handle]) -> None:
        """These are another reader's soon: their jobs end now or go back, or they are not ours in the end."""
        wanted = set(handles)
        messages = [one for one in self._in_hand.values() if one.handle in wanted]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEFT_WITHIN):
                    if self.on_revoked is not None:
                        await self.on_revoked(messages)
        finally:
            self._release(messages)

    async def _lag(self, client: GroupMember) -> int | None:
        topic = await asyncio.to_thread(client.look)
        if topic.id != client.topic.id:
            client.stop()
            raise QueueLost(f"{self.source}: the topic was made anew")
        client.topic = topic
        return await asyncio.to_thread(self._count, client)

    def _count(self, client: GroupMember) -> int:
        """Of all partitions, whoever reads them."""
        known = self._known(client)
        ends = ends_of(client.watcher, self._topic, client.topic.partitions)
        fresh = [number for number in ends if number not in known]
        begins = ends_of(client.watcher, self._topic, fresh, first=True)
        waiting = sum(max(0, ends[number] - begins[number]) for number in fresh)
        return waiting + sum(max(0, ends[number] - one.next) + one.unfinished for number, one in known.items())

    def _known(self, client: GroupMember) -> dict[int, PartitionProgress]:
        return progress_of(client.watcher, self._topic, client.topic.partitions, client.topic.known_id)

    async def _left_since(self, client: GroupMember, seconds: float) -> bool:
        begun = [one.given_since for one in (await asyncio.to_thread(self._known, client)).values()]
        return any(at is not None and at < time.time() - seconds for at in begun)
