"""NATS JetStream (nats-py): a durable pull consumer; the message's data is the job line.

The consumer is made when it does not exist yet; a stream is not. A consumer with `max_deliver` is refused: the server
would drop a message by itself after so many deliveries. The server counts every delivery; requeues are
kept in the key-value bucket `sender_STREAM_CONSUMER` beside the stream, made with the first of them, and subtracted.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig

from sender.queues.broker_connection import PATIENCE, BrokerConnection
from sender.queues.broker_queue import HEAD, BrokerQueue
from sender.queues.publisher import OutgoingLine, Publisher
from sender.queues.queue import Message, QueueError, QueueLost, trace_context
from sender.queues.server_access import tls_context, with_host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

    from sender.queues.address import Address
    from sender.queues.queue import QueueOrigins, RequeueCounts

log = structlog.get_logger()

KEEP_COUNTS: Final = 30 * 86400.0
"""Seconds."""
AT_ONCE: Final = 0.05
"""Seconds to wait for further messages that are there already."""
CLOSE_WITHIN: Final = 1.0
"""Seconds to close a connection that could not be made, so that why is told before our patience ends."""
PENDING_BYTES: Final = 2**31
"""Bytes read ahead at most; the library drops what is more."""
_REFUSALS: Final = (
    nats.errors.AuthorizationError, nats.errors.InvalidUserCredentialsError, nats.errors.MaxPayloadError,
    nats.js.errors.NotFoundError, nats.js.errors.BadRequestError, QueueError,
)


@dataclass(slots=True, eq=False)
class JetStreamClient:
    """One connection and what hangs on it."""

    client: Client
    jetstream: JetStreamContext
    subscription: JetStreamContext.PullSubscription | None = None
    epoch: str = ""
    """When the stream was made: its sequence begins anew with it."""
    created: str | None = None
    """The same, to the microsecond."""
    consumer_made: object = None
    """When the consumer was: it goes with its stream."""
    largest: int = 2**20
    """Bytes of a message, by the limits of server and stream."""


class JetStreamConnection(BrokerConnection[JetStreamClient]):
    """It never reconnects by itself, and says nothing but what a call raises."""

    async def _connect(self) -> JetStreamClient:
        async def quiet(_: Exception) -> None:
            """What goes wrong is raised by the call that it breaks."""

        address = self.address
        known: dict[str, Any] = {"user_credentials": address.parameters.get("creds")}
        known |= {"nkeys_seed": address.parameters.get("nkey"), "tls": tls_context(address.parameters)}
        client = Client()
        try:
            await client.connect(
                [with_host(address.url, host) for host in address.hosts], allow_reconnect=False,
                connect_timeout=int(PATIENCE), error_cb=quiet, max_reconnect_attempts=1, reconnect_time_wait=0,
                **{name: value for name, value in known.items() if value is not None},
            )
        except BaseException:
            with suppress(TimeoutError, OSError, nats.errors.Error):
                async with asyncio.timeout(CLOSE_WITHIN):  # after a failed handshake it waits for ever
                    await client.close()
            raise
        return JetStreamClient(client, client.jetstream(timeout=PATIENCE))

    async def _disconnect(self, client: JetStreamClient) -> None:
        await client.client.close()

    def _is_lost(self, error: Exception) -> bool | None:
        if isinstance(error, QueueLost):
            return True
        if isinstance(error, _REFUSALS) or "authorization" in str(error).lower():
            return False
        return True if isinstance(error, nats.errors.Error | OSError | TimeoutError) else None


class BucketRequeueCounts:
    """Requeues in a JetStream key-value bucket, shared by all replicas."""

    def __init__(self, jetstream: JetStreamContext, name: str) -> None:
        self._jetstream = jetstream
        self._name = name
        self._bucket: KeyValue | None = None

    async def add(self, ids: Sequence[str]) -> None:
        """See `RequeueCounts.add`."""
        bucket = await self._open() or await self._jetstream.create_key_value(
            KeyValueConfig(bucket=self._name, ttl=KEEP_COUNTS)
        )
        known = await self.find(ids)
        await asyncio.gather(*(bucket.put(one, str(known.get(one, 0) + 1).encode()) for one in ids))

    async def find(self, ids: Sequence[str]) -> Mapping[str, int]:
        """See `RequeueCounts.find`."""
        bucket = await self._open()
        counts = await asyncio.gather(*(self._count(bucket, one) for one in ids)) if bucket else []
        return {one: count for one, count in zip(ids, counts, strict=False) if count}

    async def forget(self, ids: Sequence[str]) -> None:
        """See `RequeueCounts.forget`."""
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


class JetStreamQueue(BrokerQueue[JetStreamClient]):
    """A durable consumer's share of one stream."""

    connection_type = JetStreamConnection

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        super().__init__(address, in_hand, return_after, requeue_counts, origins)
        self.keep_every = return_after / 3
        self._stream, self._consumer = address.parameters["stream"], address.parameters["consumer"]
        self._bucket = re.sub(r"[^A-Za-z0-9_-]", "_", f"sender_{self._stream}_{self._consumer}")
        self._made: str | None = None
        self._fetched: list[Msg] = []

    async def _prepare(self, client: JetStreamClient) -> None:
        try:
            info = await client.jetstream.stream_info(self._stream)
            client.consumer_made = await self._make_consumer(client.jetstream)
            client.subscription = await client.jetstream.pull_subscribe_bind(
                self._consumer, self._stream, pending_bytes_limit=PENDING_BYTES
            )
        except nats.js.errors.NotFoundError:
            raise QueueError(f"{self.source}: there is no stream {self._stream}; make it first") from None
        client.largest = max(1, min(client.client.max_payload, _limit(info.config.max_msg_size)))
        client.epoch = f"{info.created:%Y%m%dT%H%M%S}" if info.created else "0"
        client.created = info.created.isoformat() if info.created else None
        self._let_go_of_another(client)

    def _let_go_of_another(self, client: JetStreamClient) -> None:
        """What a stream that is gone had given out must not acknowledge the new one's messages of the same number."""
        if self._made not in (None, client.created):
            log.warning("the stream was made anew: it is read from its front", queue=self.source)
            self._release(list(self._in_hand.values()))
            self._fetched = []
        self._made = client.created

    async def _make_consumer(self, jetstream: JetStreamContext) -> object:
        """Make the consumer, or go by the settings of the one that is there; returns when it was made."""
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
        self.return_after = found.config.ack_wait or self.return_after
        self.keep_every = self.return_after / 3
        return found.created

    async def _origin(self, client: JetStreamClient) -> str | None:
        return client.created

    async def _read(self, client: JetStreamClient, room: int) -> list[Message]:
        await self._fetch_all(client, room)
        await self._require_same_consumer(client)
        again = [message for message in self._fetched if message.metadata.num_delivered > 1]
        counts = await self._counts(client).find([self._sequence(message) for message in again]) if again else {}
        found, self._fetched = self._fetched, []
        return [self._message(client, one, counts.get(self._sequence(one), 0)) for one in found]

    async def _fetch_all(self, client: JetStreamClient, room: int) -> None:
        """What is fetched stays for the next read, whatever breaks this one."""
        wait = self._wait
        while len(self._fetched) < room and (left := self._bytes_left) > 0:
            more = await self._fetch(client, room - len(self._fetched), left, AT_ONCE if self._fetched else wait)
            if not more:
                return
            self._fetched += more

    @property
    def _bytes_left(self) -> int:
        return self.read_bytes - sum(len(one.data) for one in self._fetched)

    async def _require_same_consumer(self, client: JetStreamClient) -> None:
        """The server answers no read of a consumer that is gone, and numbers the messages of a new stream anew."""
        try:
            found = await client.jetstream.consumer_info(self._stream, self._consumer)
        except nats.js.errors.NotFoundError:
            raise QueueLost(f"{self.source}: there is no consumer {self._consumer} any more") from None
        if found.created != client.consumer_made:
            found, self._fetched = self._fetched, []
            await self._give_back(client, found, b"-NAK")
            raise QueueLost(f"{self.source}: the consumer {self._consumer} was made anew")

    async def _fetch(self, client: JetStreamClient, most: int, room: int, wait: float) -> list[Msg]:
        """As many as have room whatever their size, one at least."""
        assert client.subscription is not None  # noqa: S101 - `_prepare` makes it
        try:
            return await client.subscription.fetch(max(1, min(most, room // client.largest)), timeout=wait)
        except TimeoutError:
            if not client.client.is_connected:
                raise QueueLost(f"{self.source}: the connection is gone") from None
            return []

    def _message(self, client: JetStreamClient, found: Msg, requeues: int) -> Message:
        unread = len(found.data) if len(found.data) > self._largest else 0
        if unread:
            found.data = found.data[:HEAD]
        own = f"{client.epoch}/{self._sequence(found)}"
        return Message(
            source=self.source, id=f"{self._stream}/{own}", identity=self._identity(own, found.headers),
            data=found.data, deliveries=max(1, found.metadata.num_delivered - requeues), handle=found,
            connection=client, priority=self.address.priority, headers=trace_context(found.headers), unread=unread,
        )

    @staticmethod
    def _sequence(found: Msg) -> str:
        return str(found.metadata.sequence.stream)

    def _counts(self, client: JetStreamClient) -> BucketRequeueCounts:
        return BucketRequeueCounts(client.jetstream, self._bucket)

    async def _ack(self, client: JetStreamClient, batch: list[Message]) -> None:
        """Acknowledge, and wait until the server says that it has it."""
        await asyncio.gather(*(self._confirm(client, one) for one in batch))
        again = [self._sequence(one.handle) for one in batch if one.handle.metadata.num_delivered > one.deliveries]
        if again:
            await self._counts(client).forget(again)

    @staticmethod
    async def _confirm(client: JetStreamClient, message: Message) -> None:
        with suppress(nats.errors.NoRespondersError):  # the consumer was deleted, and the message with it
            await client.client.request(message.handle.reply, b"+ACK", timeout=PATIENCE)

    async def _requeue(self, client: JetStreamClient, batch: list[Message], delay: float) -> None:
        word = b'-NAK {"delay": %d}' % int(delay * 1e9) if delay else b"-NAK"
        await self._give_back(client, [one.handle for one in batch], word)

    async def _give_back(self, client: JetStreamClient, batch: list[Msg], word: bytes) -> None:
        """Uncounted."""
        await self._counts(client).add([self._sequence(one) for one in batch])
        await self._say(client, batch, word)

    async def _keep(self, client: JetStreamClient, batch: list[Message]) -> None:
        await self._say(client, [one.handle for one in batch], b"+WPI")

    @staticmethod
    async def _say(client: JetStreamClient, batch: list[Msg], word: bytes) -> None:
        for one in batch:
            await client.client.publish(one.reply, word)
        await client.client.flush(int(PATIENCE))

    async def _lag(self, client: JetStreamClient) -> int | None:
        info = await client.jetstream.consumer_info(self._stream, self._consumer)
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


def _limit(configured: int | None) -> int:
    return configured if configured and configured > 0 else 2**63


class JetStreamPublisher(Publisher[JetStreamClient]):
    """Publishes to the stream's first subject, and waits until the stream says that it keeps the message."""

    connection_type = JetStreamConnection

    async def _check(self, client: JetStreamClient) -> None:
        await self._subject(client)

    async def _subject(self, client: JetStreamClient) -> str:
        stream = self.address.parameters["stream"]
        try:
            subjects = (await client.jetstream.stream_info(stream)).config.subjects or []
        except nats.js.errors.NotFoundError:
            raise QueueError(f"{self.shown}: there is no stream {stream}; make it first") from None
        plain = [subject for subject in subjects if "*" not in subject and ">" not in subject]
        if not plain:
            raise QueueError(f"{self.shown}: stream {stream} needs a subject without * and > to be written to")
        return plain[0]

    async def _publish(self, client: JetStreamClient, lines: list[OutgoingLine]) -> None:
        subject = await self._subject(client)
        for one in lines:
            headers: dict[str, Any] = one.headers | ({"Sender-Reason": one.reason} if one.reason else {})
            await client.jetstream.publish(
                subject, one.line, headers=headers or None, stream=self.address.parameters["stream"]
            )
