"""RabbitMQ (aio-pika): the message body is the job line; classic and quorum queues.

Messages are fetched one by one (basic.get) as many as are wanted now: nothing lies in a buffer where no other replica
can have it, and a broker restart counts as a delivery only for what was really in hand.

The broker's count is not enough: a classic queue only tells *that* a message came before, and any return of it counts.
So the count travels in the header `x-sender-deliveries`: a message that is given back, and one that a classic queue
redelivers, is published anew to the end of the same queue, confirmed, and then the old one is acknowledged. A crash
between the two leaves two messages with one identity; the ledger lets one of them through. It needs the right to
write to the default exchange. A quorum queue's own `x-delivery-limit` must
be above the consumer's.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aio_pika
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    DeliveryError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed

from sender.queues import Message, QueueError, trace_context
from sender.queues.publisher import Letter, Publisher
from sender.queues.source import BrokerQueue

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

    from sender.queues import RequeueCounts
    from sender.queues.address import Address

# Their tracebacks of a broken line tell nothing that the call it breaks does not raise.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False

COUNT: Final = "x-sender-deliveries"
POLL_EVERY: Final = 0.1
"""Seconds between two looks at an empty queue."""
HOLD_LIMIT: Final = 25 * 60.0
"""Seconds; RabbitMQ closes the channel of a message that is unacknowledged for 30 minutes."""
_PROPERTIES: Final = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
    "message_id", "timestamp", "type", "app_id",
)
_REFUSALS: Final = (
    AuthenticationError, ProbableAuthenticationError, ChannelNotFoundEntity, ChannelAccessRefused,
    ConnectionNotAllowed, DeliveryError, QueueError,
)


class Wire(NamedTuple):
    """One connection with one channel, in confirm mode."""

    connection: AbstractConnection
    channel: AbstractChannel
    queue: AbstractQueue | None = None


def _is_lost(error: Exception) -> bool | None:
    if isinstance(error, _REFUSALS):
        return False
    return True if isinstance(error, AMQPError | ChannelInvalidStateError | OSError | ConnectionError) else None


async def _dial(address: Address) -> Wire:
    connection = await aio_pika.connect(address.url)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return Wire(connection, channel, await channel.get_queue(address.parameters["queue"], ensure=True))
    except BaseException:
        await connection.close()
        raise


def identity(message: AbstractIncomingMessage) -> str:
    """The `message_id`; else a hash of what stays the same over redeliveries: body, correlation id and timestamp.

    So two messages without an id that are equal in all three are one job, as two equal lines of a file are.
    """
    if message.message_id:
        return message.message_id
    digest = hashlib.sha256(message.body)
    digest.update(f"\0{message.correlation_id}\0{message.timestamp}".encode())
    return digest.hexdigest()


class Source(BrokerQueue[Wire]):
    """One queue of a virtual host."""

    keep_every = None
    hold_limit = HOLD_LIMIT
    handles_outlive_connection = False

    def __init__(self, address: Address, in_hand: int, return_after: float, given_back: RequeueCounts | None) -> None:
        super().__init__(address, in_hand, return_after, given_back)
        self._name = address.parameters["queue"]

    def _key(self, message: Message) -> Hashable:
        """Two messages may have one id, and each has to be acknowledged."""
        return id(message.connection), message.handle.delivery_tag

    async def _connect(self) -> Wire:
        return await _dial(self.address)

    async def _disconnect(self, client: Wire) -> None:
        await client.connection.close()

    def _is_lost(self, error: Exception) -> bool | None:
        return _is_lost(error)

    async def _check(self, client: Wire) -> None:
        await self._lag(client)

    async def _read(self, client: Wire, room: int) -> list[Message]:
        clock = asyncio.get_running_loop().time
        ends = clock() + self._wait
        got: list[Message] = []
        while len(got) < room:
            found = await self._queue(client).get(fail=False, timeout=None)
            if found is not None and (message := await self._message(client, found)):
                got.append(message)
            if clock() >= ends or (got and found is None):
                break
            if found is None:
                await asyncio.sleep(POLL_EVERY)
        return got

    async def _message(self, wire: Wire, found: AbstractIncomingMessage) -> Message | None:
        """The message; None when its count had to be written first: it will be read again with it."""
        before = _count(found.headers.get(COUNT))
        if "x-delivery-count" in found.headers:
            before += _count(found.headers["x-delivery-count"])
        elif found.redelivered:  # a quorum queue would have told how often
            before += 1
            if await self._rewrite(wire, found, before):
                return None
        return Message(
            source=self.source, id=identity(found), data=found.body, deliveries=before + 1, handle=found,
            connection=wire, priority=self.address.priority, headers=trace_context(found.headers),
        )

    async def _rewrite(self, wire: Wire, found: AbstractIncomingMessage, deliveries: int) -> bool:
        """Put a copy with this count at the end of the queue, and only then take the message out.

        False when the queue takes no copy, since it is full.
        """
        properties = {name: getattr(found, name) for name in _PROPERTIES}
        headers = {name: value for name, value in found.headers.items() if name != "x-delivery-count"}
        copy = aio_pika.Message(found.body, headers=headers | {COUNT: deliveries}, **properties)
        try:
            await wire.channel.default_exchange.publish(copy, routing_key=self._name, mandatory=True)
        except DeliveryError:
            return False
        await found.ack()
        return True

    async def _ack(self, client: Wire, batch: list[Message]) -> None:
        for message in batch:
            if message.connection is client:
                await message.handle.ack()

    async def _give_back(self, client: Wire, batch: list[Message]) -> None:
        for message in batch:
            if message.connection is not client:
                continue
            if not await self._rewrite(client, message.handle, message.deliveries - 1):
                await message.handle.nack(requeue=True)  # counted, but not lost

    async def _keep(self, client: Wire, batch: list[Message]) -> None:
        """RabbitMQ has no such signal; see `hold_limit`."""

    async def _lag(self, client: Wire) -> int | None:
        declared = await client.channel.declare_queue(self._name, passive=True)
        return declared.declaration_result.message_count

    @staticmethod
    def _queue(wire: Wire) -> AbstractQueue:
        assert wire.queue is not None  # noqa: S101 - `_dial` with a queue
        return wire.queue


class Sink(Publisher[Wire]):
    """Persistent messages to a durable queue, each confirmed by the broker; a queue that is missing is an error."""

    async def _connect(self) -> Wire:
        return await _dial(self.address)

    async def _disconnect(self, client: Wire) -> None:
        await client.connection.close()

    def _is_lost(self, error: Exception) -> bool | None:
        return _is_lost(error)

    async def _check(self, client: Wire) -> None:
        await client.channel.declare_queue(self.address.parameters["queue"], passive=True)

    async def _publish(self, client: Wire, letters: list[Letter]) -> None:
        for letter in letters:
            message = aio_pika.Message(
                letter.line, delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                headers={"x-sender-reason": letter.reason} if letter.reason else None,
            )
            await client.channel.default_exchange.publish(
                message, routing_key=self.address.parameters["queue"], mandatory=True
            )


def _count(value: Any) -> int:
    """A count in a header, which anyone may have written."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0
