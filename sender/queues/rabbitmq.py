"""RabbitMQ (aio-pika): the message body is the job line; classic and quorum queues.

Messages are pushed, as many as are wanted now (`PushedMessages`): nothing lies in a buffer where no other replica can
have it, and a broker restart counts as a delivery only for what was really in hand. Whatever is published goes over a
connection of its own: RabbitMQ stops reading from those that publish while its memory or disk is low, and
acknowledgements must not stand behind that.

The broker's count is not enough: a classic queue only tells *that* a message came before, and any return of it counts.
So the count travels in the header `x-sender-deliveries`: a message that is put back, and one that a classic queue
redelivers, is published anew to the end of the same queue, confirmed, and then the old one is acknowledged. A crash
between the two leaves two messages with one identity; the ledger lets one of them through. It needs the right to
write to the default exchange. While RabbitMQ takes no copy the message goes on, or goes back, as it is, and the broker
counts that. A quorum queue's own `x-delivery-limit` must be above the consumer's.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aio_pika
import structlog
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    DeliveryError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed

from sender.queues.broker_connection import BrokerConnection
from sender.queues.broker_queue import HEAD, BrokerQueue
from sender.queues.confirmed_publishes import ConfirmedPublishes
from sender.queues.message_identity import CONTENT, HEADER, carried, to_header
from sender.queues.publisher import OutgoingLine, Publisher
from sender.queues.pushed_messages import PushedMessages
from sender.queues.queue import Message, QueueError, trace_context
from sender.queues.server_access import tls_context, with_host

if TYPE_CHECKING:
    import ssl
    from collections.abc import Hashable

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

    from sender.queues.address import Address
    from sender.queues.queue import QueueOrigins, RequeueCounts

# Their tracebacks of a broken line tell nothing that the call it breaks does not raise.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False

COUNT: Final = "x-sender-deliveries"
ACK_TIMEOUT: Final = 25 * 60.0
"""Seconds; RabbitMQ closes the channel of a message that is unacknowledged for 30 minutes."""
_PROPERTIES: Final = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
    "message_id", "timestamp", "type", "app_id",
)
_REFUSALS: Final = (
    AuthenticationError, ProbableAuthenticationError, ChannelNotFoundEntity, ChannelAccessRefused,
    ConnectionNotAllowed, DeliveryError, QueueError,
)
log = structlog.get_logger()


class RabbitMqClient(NamedTuple):
    """One connection with one channel, in confirm mode."""

    connection: AbstractConnection
    channel: AbstractChannel
    queue: AbstractQueue
    pushed: PushedMessages
    cluster: str | None
    publishes: ConfirmedPublishes


class RabbitMqConnection(BrokerConnection[RabbitMqClient]):
    """It never reconnects by itself: handles die with it, and that has to be known."""

    async def _connect(self) -> RabbitMqClient:
        connection = await self._connect_any()
        try:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            queue = await channel.get_queue(self.address.parameters["queue"], ensure=True)
            pushed = PushedMessages(await channel.get_underlay_channel(), queue.name)
        except BaseException:
            await connection.close()
            raise
        publishes = ConfirmedPublishes(connection, channel, queue.name)
        return RabbitMqClient(connection, channel, queue, pushed, _cluster_of(connection), publishes)

    async def _connect_any(self) -> AbstractConnection:
        """To the first host that takes the connection."""
        context = tls_context(self.address.parameters)
        *others, last = self.address.hosts
        for host in others:
            with suppress(OSError, AMQPError):
                return await _connect(with_host(self.address.url, host), context)
        return await _connect(with_host(self.address.url, last), context)

    async def _disconnect(self, client: RabbitMqClient) -> None:
        client.publishes.close()
        await client.connection.close()

    def _is_lost(self, error: Exception) -> bool | None:
        if isinstance(error, _REFUSALS):
            return False
        return True if isinstance(error, AMQPError | ChannelInvalidStateError | OSError | ConnectionError) else None


async def _connect(url: str, context: ssl.SSLContext | None) -> AbstractConnection:
    """The library ends as if by a clean end when the server closes the connection while it greets us."""
    try:
        return await aio_pika.connect(url, ssl_context=context)
    except StopAsyncIteration:
        raise ConnectionResetError("the connection was closed while it was being opened") from None


def own_id(message: AbstractIncomingMessage) -> str:
    """The `message_id`, but not the random one of a copy; empty when there is none."""
    return "" if carried(message.headers) == CONTENT else message.message_id or ""


def content_hash(message: AbstractIncomingMessage) -> str:
    """What names a message without an id to people: it stays the same over redeliveries and copies."""
    digest = hashlib.sha256(message.body)
    digest.update(f"\0{message.correlation_id}\0{message.timestamp}".encode())
    return digest.hexdigest()


class RabbitMqQueue(BrokerQueue[RabbitMqClient]):
    """One queue of a virtual host."""

    connection_type = RabbitMqConnection
    ack_timeout = ACK_TIMEOUT
    handles_outlive_connection = False

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        super().__init__(address, in_hand, return_after, requeue_counts, origins)
        self._name = address.parameters["queue"]
        self._publishing = RabbitMqConnection(address)
        self._has_read = False

    async def aclose(self) -> None:
        """See `Queue.aclose`."""
        await super().aclose()
        await self._publishing.aclose()

    def _key(self, message: Message) -> Hashable:
        """Two messages may have one id, and each has to be acknowledged."""
        return id(message.connection), message.handle.delivery_tag

    async def _read(self, client: RabbitMqClient, room: int) -> list[Message]:
        """What was dropped for want of room stays in the queue."""
        got: list[Message] = []
        taken = client.pushed.take(room, self._wait, room=self.read_bytes, largest=self._largest, head=HEAD)
        pushed = await taken
        if pushed and not self._has_read:
            self._has_read = True
            again = any(one.redelivered or one.headers.get(COUNT) for one, *_ in pushed)
            self.returned_at = asyncio.get_running_loop().time() if again else None
        for found, size, dropped in pushed:
            if dropped and size <= self._largest:
                await found.nack(requeue=True)
            elif message := await self._message(client, found, size if dropped else 0):
                got.append(message)
        return got

    async def _message(self, client: RabbitMqClient, found: AbstractIncomingMessage, unread: int) -> Message | None:
        """The message; None when its count had to be written first: it will be read again with it."""
        before = _count(found.headers.get(COUNT))
        if "x-delivery-count" in found.headers:
            before += _count(found.headers["x-delivery-count"])
        elif found.redelivered:  # a quorum queue would have told how often
            before += 1
            if not unread and await self._rewrite(found, before):
                return None
        known = own_id(found)
        return Message(
            source=self.source, id=known or content_hash(found), identity=self._identity(known, found.headers),
            data=found.body, deliveries=before + 1, handle=found, connection=client, priority=self.address.priority,
            headers=trace_context(found.headers), unread=unread,
        )

    async def _origin(self, client: RabbitMqClient) -> str | None:
        """The name of its cluster, which is the same on every node and after a restart."""
        return client.cluster

    async def _rewrite(self, found: AbstractIncomingMessage, deliveries: int) -> bool:
        """Put a copy with this count at the end of the queue, and only then take the message out.

        False when the queue takes no copy, since it is full, or RabbitMQ takes nothing now.
        """
        properties = {name: getattr(found, name) for name in _PROPERTIES}
        headers = {name: value for name, value in found.headers.items() if name != "x-delivery-count"}
        identity = to_header(self._identity(own_id(found), found.headers))  # the copy gets a random message_id
        copy = aio_pika.Message(found.body, headers=headers | {COUNT: deliveries, HEADER: identity}, **properties)
        try:
            await self._publishing.run(lambda client: client.publishes.publish(copy))
        except QueueError as error:
            log.warning("a message cannot be published anew with its count of deliveries", error=str(error))
            return False
        await found.ack()
        return True

    async def _ack(self, client: RabbitMqClient, batch: list[Message]) -> None:
        for message in batch:
            if message.connection is client:
                await message.handle.ack()

    async def _requeue(self, client: RabbitMqClient, batch: list[Message], delay: float) -> None:  # noqa: ARG002
        """RabbitMQ knows no delay."""
        for message in batch:
            if message.connection is not client:
                continue
            if message.unread or not await self._rewrite(message.handle, message.deliveries - 1):
                await message.handle.nack(requeue=True)  # counted, but not lost

    async def _keep(self, client: RabbitMqClient, batch: list[Message]) -> None:
        """RabbitMQ has no such signal; see `ack_timeout`."""

    async def _lag(self, client: RabbitMqClient) -> int | None:
        """RabbitMQ tells over this protocol what waits, and of what is in hand only each reader knows its own."""
        declared = await client.channel.declare_queue(self._name, passive=True)
        return (declared.declaration_result.message_count or 0) + len(self._in_hand)


class RabbitMqPublisher(Publisher[RabbitMqClient]):
    """Persistent messages to a durable queue, each confirmed by the broker; a queue that is missing is an error."""

    connection_type = RabbitMqConnection

    async def _publish(self, client: RabbitMqClient, lines: list[OutgoingLine]) -> None:
        for one in lines:
            headers: dict[str, Any] = one.headers | ({"x-sender-reason": one.reason} if one.reason else {})
            message = aio_pika.Message(one.line, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, headers=headers)
            await client.publishes.publish(message)


def _cluster_of(connection: Any) -> str | None:
    found = connection.transport.connection.server_properties.get("cluster_name")
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found


def _count(value: Any) -> int:
    """A count in a header, which anyone may have written."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0
