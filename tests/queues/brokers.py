"""All brokers as the tests use them: make a queue, put messages in, look at a dead letter, cut the line."""

from __future__ import annotations

import asyncio
import json
import secrets
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import aio_pika
import asyncpg
import nats
import redis.asyncio
from aiobotocore.session import get_session
from confluent_kafka import Consumer, Producer, TopicPartition
from nats.js.api import StreamConfig

from sender.outbox.job_row import JobRow
from sender.outbox.outbox_table import OutboxTable
from sender.outbox.schema import create
from sender.queues.queue_url import open_publisher, open_queue
from tests.support.kafka_server import KafkaServer
from tests.support.servers import Proxy, SqsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from sender.queues import Queue
    from sender.queues.publisher import Publisher
    from tests.support.servers import Server

BIG = 26 << 20
aws_session = cache(get_session)
"""One for all: each reads a large description of the service."""


class Broker(ABC):
    """One broker with one fresh queue, reached through a line that can be cut."""

    return_after: ClassVar[float] = 0.5
    ordered: ClassVar[bool] = True
    """Whether messages of one queue come in the order in which they were put in."""
    returns_with_connection: ClassVar[bool] = False
    """Whether what a reader holds returns when its connection ends, and only then."""
    big: ClassVar[int] = BIG
    garbage: ClassVar[bytes] = bytes(range(256)) + b"\xff\xfe\r\n\0"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"jobs-{secrets.token_hex(4)}"
        self.proxy = Proxy(server.port)
        self._open: list[Any] = []

    @abstractmethod
    def url(self, *, port: int | None = None, credentials: str = "", more: str = "") -> str: ...

    @abstractmethod
    def sink_url(self, *, name: str = "") -> str: ...

    @abstractmethod
    async def make(self) -> None: ...

    @abstractmethod
    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None: ...

    @abstractmethod
    async def letters(self) -> list[tuple[bytes, Any]]:
        """The bodies and reasons in the dead letter queue, oldest first."""

    async def restart(self) -> None:
        """The broker goes and comes back with what it had."""
        self.server.restart()

    async def make_way(self, reader: Queue) -> None:  # noqa: B027 - most brokers give any message to any reader
        """Where a reader has messages to itself as long as it is there, the others leave for this one."""

    def queue(self, **options: Any) -> Queue:
        queue = open_queue(self.url(), **({"return_after": self.return_after} | options))
        queue._wait = 0.3  # type: ignore[attr-defined]
        self._open.append(queue)
        return queue

    def sink(self, name: str = "") -> Publisher[Any]:
        sink = open_publisher(self.sink_url(name=name))
        self._open.append(sink)
        return sink

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[Broker]:
        await self.proxy.mend()
        await self.make()
        try:
            yield self
        finally:
            for one in self._open:
                await one.aclose()
            await self.proxy.cut()


class Redis(Broker):
    def url(self, *, port: int | None = None, credentials: str = "", more: str = "") -> str:
        host = f"{credentials}127.0.0.1:{port or self.proxy.port}"
        return f"redis://{host}/0?stream={self.name}&group=senders{more}"

    def sink_url(self, *, name: str = "") -> str:
        return f"redis://127.0.0.1:{self.proxy.port}/0?stream={name or self.name + '-dead'}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[redis.asyncio.Redis]:
        async with redis.asyncio.Redis(port=self.server.port) as client:
            yield client

    async def make(self) -> None:
        """The group makes itself."""

    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        async with self.client() as client:
            pipe = client.pipeline(transaction=False)
            for body in bodies:
                fields: dict[Any, Any] = {"job": body, **(headers or {})}
                pipe.xadd(self.name, fields)
            await pipe.execute()

    async def letters(self) -> list[tuple[bytes, Any]]:
        async with self.client() as client:
            entries: Any = await client.xrange(f"{self.name}-dead")
        return [
            (fields.get(b"job") or fields[b"outcome"], json.loads(fields.get(b"reason", b"null")))
            for _, fields in entries
        ]


class Rabbit(Broker):
    returns_with_connection = True
    kind: ClassVar[str] = "classic"

    def url(self, *, port: int | None = None, credentials: str = "guest:guest@", more: str = "") -> str:
        return f"amqp://{credentials}127.0.0.1:{port or self.proxy.port}/%2F?queue={self.name}{more}"

    def sink_url(self, *, name: str = "") -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.proxy.port}/%2F?queue={name or self.name + '-dead'}"

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Any]:
        url = f"amqp://guest:guest@127.0.0.1:{self.server.port}/%2F"
        async with await aio_pika.connect(url) as connection, connection.channel() as channel:
            yield channel

    async def make(self) -> None:
        async with self.channel() as channel:
            kind = {"x-queue-type": self.kind}
            await channel.declare_queue(self.name, durable=True, arguments=kind)
            await channel.declare_queue(f"{self.name}-dead", durable=True, arguments=kind)

    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        async with self.channel() as channel:
            for body in bodies:
                message = aio_pika.Message(
                    body, headers=dict(headers or {}), message_id=secrets.token_hex(8), delivery_mode=2
                )
                await channel.default_exchange.publish(message, routing_key=self.name)

    async def letters(self) -> list[tuple[bytes, Any]]:
        found = []
        async with self.channel() as channel:
            queue = await channel.get_queue(f"{self.name}-dead")
            while message := await queue.get(no_ack=True, fail=False):
                assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
                found.append((message.body, json.loads(message.headers.get("x-sender-reason", "null"))))
        return found


class Quorum(Rabbit):
    kind = "quorum"


class Nats(Broker):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.name = self.name.upper()

    def url(self, *, port: int | None = None, credentials: str = "", more: str = "") -> str:
        host = f"{credentials}127.0.0.1:{port or self.proxy.port}"
        return f"nats://{host}?stream={self.name}&consumer=senders{more}"

    def sink_url(self, *, name: str = "") -> str:
        return f"nats://127.0.0.1:{self.proxy.port}?stream={name or self.name + '-DEAD'}"

    @asynccontextmanager
    async def jetstream(self) -> AsyncIterator[Any]:
        client = await nats.connect(f"nats://127.0.0.1:{self.server.port}")
        try:
            yield client.jetstream(timeout=10)
        finally:
            await client.close()

    async def make(self) -> None:
        async with self.jetstream() as jetstream:
            for name in (self.name, f"{self.name}-DEAD"):
                await jetstream.add_stream(StreamConfig(name=name, subjects=[f"{name}.in", f"{name}.more.*"]))

    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        async with self.jetstream() as jetstream:
            for body in bodies:
                await jetstream.publish(f"{self.name}.in", body, headers=headers)

    async def letters(self) -> list[tuple[bytes, Any]]:
        name, found = f"{self.name}-DEAD", []
        async with self.jetstream() as jetstream:
            for number in range((await jetstream.stream_info(name)).state.messages):
                message = await jetstream.get_msg(name, seq=number + 1)
                found.append((message.data, json.loads((message.headers or {}).get("Sender-Reason", "null"))))
        return found


class Sqs(Broker):
    return_after = 1.0  # SQS counts in whole seconds
    ordered = False
    big = 1 << 20
    garbage = "not json \t\r\n\u00e9\U0001f600 {[".encode()
    suffix: ClassVar[str] = ""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.name += self.suffix
        self.dead = f"dead-{self.name}"

    def url(self, *, port: int | None = None, credentials: str = "", more: str = "") -> str:
        endpoint = f"http://127.0.0.1:{port or self.proxy.port}"
        return f"sqs://{credentials}eu-west-1/{self.name}?endpoint={endpoint}{more}"

    def sink_url(self, *, name: str = "") -> str:
        return f"sqs://eu-west-1/{name or self.dead}?endpoint=http://127.0.0.1:{self.proxy.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(
                aws_session().create_client("sqs", region_name="eu-west-1", endpoint_url=self.server.url)  # type: ignore[attr-defined]
            )

    async def make(self) -> None:
        async with self.client() as client:
            more = {"FifoQueue": "true"} if self.suffix else {}
            for name in (self.name, self.dead):
                await client.create_queue(QueueName=name, Attributes=more)

    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None, groups: Iterable[str] = ()) -> None:
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in (headers or {}).items()}
        named = list(groups) or ["one"] * len(bodies)
        async with self.client() as client:
            url = (await client.get_queue_url(QueueName=self.name))["QueueUrl"]
            for body, group in zip(bodies, named, strict=True):
                fifo = {"MessageGroupId": group, "MessageDeduplicationId": secrets.token_hex(8)} if self.suffix else {}
                await client.send_message(QueueUrl=url, MessageBody=body.decode(), MessageAttributes=attributes, **fifo)

    async def letters(self) -> list[tuple[bytes, Any]]:
        found = []
        async with self.client() as client:
            url = (await client.get_queue_url(QueueName=self.dead))["QueueUrl"]
            while got := (await client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])).get("Messages"):
                for one in got:
                    reason = one.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "null")
                    found.append((one["Body"].encode(), json.loads(reason)))
                    await client.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return found

    async def restart(self) -> None:
        """The service never loses what it has; what is seen of its trouble is a line that breaks."""
        assert isinstance(self.server, SqsServer)
        await self.proxy.cut()
        await self.proxy.mend()


class SqsFifo(Sqs):
    suffix = ".fifo"
    ordered = True


class Kafka(Broker):
    """Readers share partitions, not messages; one partition, where nobody says otherwise."""

    partitions = 1

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        assert isinstance(server, KafkaServer)
        self.kafka = server
        self.proxy = Proxy(server.proxied_port)
        self.proxy.port = server.proxy_port

    def url(self, *, port: int | None = None, credentials: str = "", more: str = "") -> str:
        return f"kafka://{credentials}127.0.0.1:{port or self.proxy.port}/{self.name}?group=senders-{self.name}{more}"

    def sink_url(self, *, name: str = "") -> str:
        return f"kafka://127.0.0.1:{self.proxy.port}/{name or self.name + '-dead'}"

    async def make(self) -> None:
        large = {"max_message_bytes": str(40 << 20)}
        await asyncio.to_thread(self.kafka.make, self.name, partitions=self.partitions, **large)
        await asyncio.to_thread(self.kafka.make, f"{self.name}-dead", **large)

    def queue(self, **options: Any) -> Queue:
        queue = super().queue(**options)
        queue.session = 20.0  # type: ignore[attr-defined]  # a restart is no death
        return queue

    async def make_way(self, reader: Queue) -> None:
        for one in self._open:
            if one is not reader:
                await one.aclose()

    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        await asyncio.to_thread(self._put, [(None, body) for body in bodies], headers)

    async def put_keyed(self, *keyed: tuple[bytes | None, bytes | None]) -> None:
        await asyncio.to_thread(self._put, list(keyed), None)

    def _put(self, keyed: list[tuple[bytes | None, bytes | None]], headers: dict[str, str] | None) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.url, "message.max.bytes": 64 << 20, "log_level": 0})
        for key, body in keyed:
            producer.produce(self.name, body, key, headers=dict(headers or {}))
        assert producer.flush(20) == 0

    async def letters(self) -> list[tuple[bytes, Any]]:
        return await asyncio.to_thread(self._letters)

    def _letters(self) -> list[tuple[bytes, Any]]:
        consumer = Consumer({"bootstrap.servers": self.kafka.url, "group.id": "look", "log_level": 0})
        place = TopicPartition(f"{self.name}-dead", 0, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        found = []
        while len(found) < end:
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            reason: Any = dict(message.headers() or []).get("x-sender-reason", b"null")  # type: ignore[arg-type]
            found.append((message.value() or b"", json.loads(reason)))
        consumer.close()
        return found


class Postgres(Broker):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.name = self.name.replace("-", "_")

    def url(self, *, port: int | None = None, credentials: str = "tester@", more: str = "") -> str:
        return f"postgres://{credentials}127.0.0.1:{port or self.proxy.port}/postgres?table={self.name}{more}"

    def sink_url(self, *, name: str = "") -> str:
        return f"postgres://tester@127.0.0.1:{self.proxy.port}/postgres?table={name or self.name + '_dead'}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(f"postgres://tester@127.0.0.1:{self.server.port}/postgres")
        try:
            yield connection
        finally:
            await connection.close()

    async def make(self) -> None:
        async with self.client() as client:
            await client.execute(create(OutboxTable.named(self.name), 7))
            await client.execute(create(OutboxTable.named(f"{self.name}_dead"), 0))

    async def put(self, *bodies: bytes, headers: dict[str, str] | None = None) -> None:
        sql = f"INSERT INTO {self.name} (job, raw, headers) VALUES ($1::text::json, $2, $3)"
        async with self.client() as client, client.transaction():
            for body in bodies:
                row = JobRow.of(body)
                await client.execute(sql, row.job, row.raw, json.dumps(headers) if headers else None)

    async def letters(self) -> list[tuple[bytes, Any]]:
        async with self.client() as client:
            rows = await client.fetch(f"SELECT job::text, raw, reason FROM {self.name}_dead ORDER BY id")
        return [(row["raw"] or row["job"].encode(), json.loads(row["reason"] or "null")) for row in rows]


KINDS = {
    "postgres": (Postgres, "postgres_server"),
    "redis": (Redis, "redis_server"),
    "rabbit-classic": (Rabbit, "rabbit_server"),
    "rabbit-quorum": (Quorum, "rabbit_server"),
    "jetstream": (Nats, "nats_server"),
    "sqs": (Sqs, "sqs_server"),
    "sqs-fifo": (SqsFifo, "sqs_server"),
    "kafka": (Kafka, "kafka_server"),
}
