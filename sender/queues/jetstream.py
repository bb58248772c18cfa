"""NATS JetStream (nats-py): a durable pull consumer; the message's data is the job line.

The consumer is made when it does not exist yet; a stream is not. A consumer with `max_deliver` is refused: the server
would drop a message by itself after so many deliveries. The server counts every delivery; give-backs are
kept in the key-value bucket `sender_STREAM_CONSUMER` beside the stream, made with the first of them, and subtracted.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import nats
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig

from sender.queues import Message, QueueError, QueueLost, trace_context
from sender.queues.broker_connection import PATIENCE
from sender.queues.publisher import Letter, Publisher
from sender.queues.source import BrokerQueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

    from sender.queues import RequeueCounts
    from sender.queues.address import Address

KEEP_GIVE_BACKS: Final = 30 * 86400.0
"""Seconds."""
PENDING_BYTES: Final = 2**31
"""Bytes read ahead at most; the library drops what is more."""
_REFUSALS: Final = (
    nats.errors.AuthorizationError, nats.errors.InvalidUserCredentialsError, nats.errors.MaxPayloadError,
    nats.js.errors.NotFoundError, nats.js.errors.BadRequestError, QueueError,
)


class Wire(NamedTuple):
    """One connection and what hangs on it."""

    client: Client
    jetstream: JetStreamContext
    subscription: JetStreamContext.PullSubscription | None = None
    epoch: str = ""
    """When the stream was made: its sequence begins anew with it."""


def _is_lost(error: Exception) -> bool | None:
    if isinstance(error, QueueLost):
        return True
    if isinstance(error, _REFUSALS) or "authorization" in str(error).lower():
        return False
    return True if isinstance(error, nats.errors.Error | OSError | TimeoutError) else None


async def _dial(address: Address) -> Client:
    async def quiet(_: Exception) -> None:
        """What goes wrong is raised by the call that it breaks."""

    return await nats.connect(
        address.url, allow_reconnect=False, connect_timeout=int(PATIENCE), error_cb=quiet,
        max_reconnect_attempts=1, reconnect_time_wait=0,
    )


class BucketGiveBacks:
    """Give-backs in a JetStream key-value bucket, shared by all replicas."""

    def __init__(self, jetstream: JetStreamContext, name: str) -> None:
        self._jetstream = jetstream
        self._name = name
        self._bucket: KeyValue | None = None

    async def add(self, ids: Sequence[str]) -> None:
        """Each of these was given back once more."""
        bucket = await self._open() or await self._jetstream.create_key_value(
            KeyValueConfig(bucket=self._name, ttl=KEEP_GIVE_BACKS)
        )
        known = await self.find(ids)
        await asyncio.gather(*(bucket.put(one, str(known.get(one, 0) + 1).encode()) for one in ids))

    async def find(self, ids: Sequence[str]) -> Mapping[str, int]:
        """How often each of these was given back."""
        bucket = await self._open()
        counts = await asyncio.gather(*(self._count(bucket, one) for one in ids)) if bucket else []
        return {one: count for one, count in zip(ids, counts, strict=False) if count}

    async def forget(self, ids: Sequence[str]) -> None:
        """These are done."""
        if bucket := await self._open():
            await asyncio.gather(*(bucket.purge(one) for one in ids))

    async def _open(self) -> KeyValue | None:
        if self._bucket is None:
            try:
                self._bucket = await self._jetstream.key_value(self._name)
            except nats.js.errors.NotFoundError:
                return None
        return self._bucket

    @staticmethod
    async def _count(bucket: KeyValue, one: str) -> int:
        try:
            return int((await bucket.get(one)).value or b"0")
        except (nats.js.errors.NotFoundError, ValueError):
            return 0


class Source(BrokerQueue[Wire]):
    """A durable consumer's share of one stream."""

    handles_outlive_connection = True

    def __init__(self, address: Address, in_hand: int, return_after: float, given_back: RequeueCounts | None) -> None:
        super().__init__(address, in_hand, return_after, given_back)
        self.keep_every = return_after / 3
        self._stream, self._consumer = address.parameters["stream"], address.parameters["consumer"]
        self._bucket = re.sub(r"[^A-Za-z0-9_-]", "_", f"sender_{self._stream}_{self._consumer}")

    async def _connect(self) -> Wire:
        client = await _dial(self.address)
        try:
            jetstream = client.jetstream(timeout=PATIENCE)
            info = await jetstream.stream_info(self._stream)
            await self._make_consumer(jetstream)
            subscription = await jetstream.pull_subscribe_bind(
                self._consumer, self._stream, pending_bytes_limit=PENDING_BYTES
            )
        except BaseException as error:
            await client.close()
            if isinstance(error, nats.js.errors.NotFoundError):
                raise QueueError(f"{self.source}: there is no stream {self._stream}; make it first") from None
            raise
        return Wire(client, jetstream, subscription, f"{info.created:%Y%m%dT%H%M%S}" if info.created else "0")

    async def _make_consumer(self, jetstream: JetStreamContext) -> None:
        """Make the consumer, or go by the settings of the one that is there."""
        try:
            found = await jetstream.consumer_info(self._stream, self._consumer)
        except nats.js.errors.NotFoundError:
            config = ConsumerConfig(
                durable_name=self._consumer, ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL,
                ack_wait=self.return_after, max_deliver=-1, max_ack_pending=-1,
            )
            found = await jetstream.add_consumer(self._stream, config)
        if found.config.ack_policy not in (AckPolicy.EXPLICIT, "explicit") or found.config.deliver_subject:
            raise QueueError(f"{self.source}: the consumer has to be a pull consumer with explicit acknowledgement")
        if (found.config.max_deliver or -1) > 0:
            raise QueueError(f"{self.source}: the consumer drops messages after max_deliver; set it to -1")
        self.keep_every = (found.config.ack_wait or self.return_after) / 3

    async def _disconnect(self, client: Wire) -> None:
        await client.client.close()

    def _is_lost(self, error: Exception) -> bool | None:
        return _is_lost(error)

    async def _check(self, client: Wire) -> None:
        await client.jetstream.consumer_info(self._stream, self._consumer)

    async def _read(self, client: Wire, room: int) -> list[Message]:
        assert client.subscription is not None  # noqa: S101 - `_connect` sets it
        try:
            found = await client.subscription.fetch(room, timeout=self._wait)
        except TimeoutError:
            if not client.client.is_connected:
                raise QueueLost(f"{self.source}: the connection is gone") from None
            return []
        again = [message for message in found if message.metadata.num_delivered > 1]
        back = await self._backs(client).find([self._sequence(message) for message in again]) if again else {}
        return [self._message(client, one, back.get(self._sequence(one), 0)) for one in found]

    def _message(self, wire: Wire, found: Msg, given_back: int) -> Message:
        return Message(
            source=self.source, id=f"{self._stream}/{wire.epoch}/{self._sequence(found)}", data=found.data,
            deliveries=max(1, found.metadata.num_delivered - given_back), handle=found, connection=wire,
            priority=self.address.priority, headers=trace_context(found.headers),
        )

    @staticmethod
    def _sequence(found: Msg) -> str:
        return str(found.metadata.sequence.stream)

    def _backs(self, wire: Wire) -> RequeueCounts:
        return self.given_back or BucketGiveBacks(wire.jetstream, self._bucket)

    async def _ack(self, client: Wire, batch: list[Message]) -> None:
        """Acknowledge, and wait until the server says that it has it."""
        await asyncio.gather(*(self._confirm(client, one) for one in batch))
        again = [self._sequence(one.handle) for one in batch if one.handle.metadata.num_delivered > one.deliveries]
        if again:
            await self._backs(client).forget(again)

    @staticmethod
    async def _confirm(wire: Wire, message: Message) -> None:
        with suppress(nats.errors.NoRespondersError):  # the consumer was deleted, and the message with it
            await wire.client.request(message.handle.reply, b"+ACK", timeout=PATIENCE)

    async def _give_back(self, client: Wire, batch: list[Message]) -> None:
        await self._backs(client).add([self._sequence(one.handle) for one in batch])
        await self._say(client, batch, b"-NAK")

    async def _keep(self, client: Wire, batch: list[Message]) -> None:
        await self._say(client, batch, b"+WPI")

    async def _say(self, wire: Wire, batch: list[Message], word: bytes) -> None:
        for one in batch:
            await wire.client.publish(one.handle.reply, word)
        await wire.client.flush(int(PATIENCE))

    async def _lag(self, client: Wire) -> int | None:
        info = await client.jetstream.consumer_info(self._stream, self._consumer)
        return int(info.num_pending or 0)


class Sink(Publisher[Wire]):
    """Publishes to the stream's first subject, and waits until the stream says that it keeps the message."""

    async def _connect(self) -> Wire:
        client = await _dial(self.address)
        return Wire(client, client.jetstream(timeout=PATIENCE))

    async def _disconnect(self, client: Wire) -> None:
        await client.client.close()

    def _is_lost(self, error: Exception) -> bool | None:
        return _is_lost(error)

    async def _check(self, client: Wire) -> None:
        await self._subject(client)

    async def _subject(self, wire: Wire) -> str:
        stream = self.address.parameters["stream"]
        try:
            subjects = (await wire.jetstream.stream_info(stream)).config.subjects or []
        except nats.js.errors.NotFoundError:
            raise QueueError(f"{self.shown}: there is no stream {stream}; make it first") from None
        plain = [subject for subject in subjects if "*" not in subject and ">" not in subject]
        if not plain:
            raise QueueError(f"{self.shown}: stream {stream} needs a subject without * and > to be written to")
        return plain[0]

    async def _publish(self, client: Wire, letters: list[Letter]) -> None:
        subject = await self._subject(client)
        for letter in letters:
            headers: dict[str, Any] = {"Sender-Reason": letter.reason} if letter.reason else {}
            await client.jetstream.publish(
                subject, letter.line, headers=headers or None, stream=self.address.parameters["stream"]
            )
