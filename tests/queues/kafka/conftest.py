"""Two clusters: Kafka itself, where it can be had, and the mock cluster of its client, everywhere."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer

from sender.queues.kafka import member
from sender.queues.kafka.client import NO_ID
from sender.queues.queue_url import open_queue
from tests.support.servers import MOCK_KAFKA, note_started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sender.queues import Queue


class Cluster:
    """Topics, messages and readers."""

    def __init__(self, brokers: str, server: Any = None) -> None:
        self.brokers = brokers
        self.server = server
        self.open: list[Queue] = []

    def make(self, partitions: int = 1) -> str:
        """A new topic; the mock cluster makes them all with four partitions."""
        name = f"jobs-{secrets.token_hex(4)}"
        if self.server is not None:
            self.server.make(name, partitions=partitions)
        else:
            asked = {"bootstrap.servers": self.brokers, "group.id": "make", "allow.auto.create.topics": True}
            with closing(Consumer(asked)) as consumer:
                consumer.list_topics(name, timeout=10)
        return name

    def put(self, topic: str, *bodies: bytes | None, key: bytes | None = None, partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self.brokers})
        for body in bodies:
            producer.produce(topic, body, key, partition)
        assert producer.flush(20) == 0

    def put_at(self, topic: str, stamp: float, *bodies: bytes, partition: int = 0) -> None:
        """With a timestamp, in unix seconds."""
        producer = Producer({"bootstrap.servers": self.brokers})
        for body in bodies:
            producer.produce(topic, body, partition=partition, timestamp=int(stamp * 1000))
        assert producer.flush(20) == 0

    def queue(self, topic: str, more: str = "", **options: Any) -> Queue:
        queue = open_queue(f"kafka://{self.brokers}/{topic}?group=senders-{topic}{more}", **options)
        queue._wait = 0.3  # type: ignore[attr-defined]
        self.open.append(queue)
        return queue


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[str]:
    """The brokers of a cluster in this process."""
    owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    brokers = owner.list_topics(timeout=10).brokers.values()
    note_started(MOCK_KAFKA)
    yield ",".join(f"{one.host}:{one.port}" for one in brokers)
    owner.flush(1)


@pytest.fixture(params=["mock", "real"])
async def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    if request.param == "mock":  # it has no controller, which is asked for a topic's id
        monkeypatch.setattr(member, "id_of", lambda settings, name: NO_ID)
        found = Cluster(request.getfixturevalue("mock_kafka"))
    else:
        server = request.getfixturevalue("kafka_server")
        found = Cluster(server.url, server)
    yield found
    for one in found.open:
        await one.aclose()
