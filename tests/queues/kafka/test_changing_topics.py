"""A topic that changes while it is read, and readers that name its brokers or group in another way."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from structlog.testing import capture_logs

from sender.queues import QueueError
from tests.queues.kafka.numbered import bodies, mock, numbers, real
from tests.support.messages import die, read

if TYPE_CHECKING:
    from sender.queues import Message, Queue
    from tests.queues.kafka.conftest import Cluster


async def consume(queue: Queue, count: int, within: float = 40.0) -> list[Message]:
    """As a consumer does: it asks for the lag now and then, and waits through all trouble."""
    found: list[Message] = []
    ends = time.monotonic() + within
    while len(found) < count and time.monotonic() < ends:
        try:
            await queue.lag()
            found += await queue.read(count - len(found))
        except QueueError:
            await asyncio.sleep(0.2)
    return found


def delete(cluster: Cluster, topic: str) -> None:
    with AdminClient({"bootstrap.servers": cluster.brokers}) as admin:
        for future in admin.delete_topics([topic], operation_timeout=10).values():
            future.result(20)


def make_again(cluster: Cluster, topic: str) -> None:
    """As soon as the name is free."""
    for _ in range(100):
        try:
            cluster.server.make(topic)
        except KafkaException:
            time.sleep(0.1)
        else:
            return


@real
@pytest.mark.parametrize("number", [2, 8], ids=["fewer messages", "more messages"])
async def test_a_topic_that_is_made_anew_is_read_from_its_front(cluster: Cluster, number: int) -> None:
    """Its offsets begin anew: they were taken for those that were done, and what is in hand for what came."""
    topic = cluster.make()
    cluster.put(topic, *bodies(5))
    queue = cluster.queue(topic)
    old = await read(queue, 5)
    await queue.ack(old[:3])
    await asyncio.to_thread(delete, cluster, topic)
    await asyncio.to_thread(make_again, cluster, topic)
    cluster.put(topic, *bodies(number, 100))
    new = await consume(queue, number)
    assert numbers(new) == list(range(100, 100 + number))
    assert {one.deliveries for one in new} == {1}
    assert not {one.identity for one in new} & {one.identity for one in old}
    await queue.ack(old[3:])
    assert await queue.lag() == number
    await queue.ack(new)
    assert await queue.lag() == 0


async def read_through(queue: Queue, count: int, within: float = 40.0) -> list[Message]:
    """As `read`, through all trouble; nobody asks for the lag meanwhile, which tells of a topic that was made anew."""
    found: list[Message] = []
    ends = time.monotonic() + within
    while len(found) < count and time.monotonic() < ends:
        try:
            found += await queue.read(count - len(found))
        except QueueError:
            await asyncio.sleep(0.05)
    return found


@real
@pytest.mark.parametrize("number", [2, 8], ids=["fewer messages", "more messages"])
async def test_a_topic_that_is_made_anew_and_filled_at_once_is_never_taken_for_the_old_one(
    cluster: Cluster, number: int
) -> None:
    """For seconds its messages were given out from the old place on, under identities of messages that were done."""
    topic = cluster.make()
    cluster.put(topic, *bodies(5))
    queue = cluster.queue(topic)
    old = await read(queue, 5)
    await queue.ack(old[:3])
    await asyncio.to_thread(delete, cluster, topic)
    await asyncio.to_thread(make_again, cluster, topic)
    cluster.put(topic, *bodies(number, 100))
    with suppress(QueueError):
        await queue.ack(old[3:])
    new = await read_through(queue, number)
    assert numbers(new) == list(range(100, 100 + number))
    assert {one.deliveries for one in new} == {1}
    assert not {one.identity for one in new} & {one.identity for one in old}
    await queue.ack(new)
    assert await queue.lag() == 0


@real
async def test_what_was_done_in_the_old_topic_is_not_done_in_the_new_one(cluster: Cluster) -> None:
    """A reader that had not noticed yet committed for the topic of the same name, and five messages were lost."""
    topic = cluster.make()
    cluster.put(topic, *bodies(6))
    queue = cluster.queue(topic)
    await queue.ack((await read(queue, 6))[:5])
    group = {"bootstrap.servers": cluster.brokers, "group.id": f"senders-{topic}", "enable.auto.commit": False}
    await queue.aclose()
    with closing(Consumer(group)) as other:
        (committed,) = other.committed([TopicPartition(topic, 0)], timeout=10)
    await asyncio.to_thread(delete, cluster, topic)
    await asyncio.to_thread(make_again, cluster, topic)
    cluster.put(topic, *bodies(8, 100))
    with closing(Consumer(group)) as other:
        other.commit(offsets=[committed], asynchronous=False)
    again = cluster.queue(topic)
    assert await again.lag() == 8
    with capture_logs() as logs:
        assert numbers(await read(again, 8)) == list(range(100, 108))
    assert ["another topic of this name" in one["event"] for one in logs] == [True]


@real
async def test_partitions_that_are_added_are_read_and_counted(cluster: Cluster) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(2))
    queue = cluster.queue(topic)
    await queue.ack(await read(queue, 2))
    with AdminClient({"bootstrap.servers": cluster.brokers}) as admin:
        for future in admin.create_partitions([NewPartitions(topic, 3)]).values():
            future.result(20)
    cluster.put(topic, *bodies(2, 2), partition=2)
    assert await queue.lag() == 2
    found = await consume(queue, 2)
    assert numbers(found) == [2, 3]
    await queue.ack(found)
    assert await queue.lag() == 0


@mock
async def test_brokers_by_another_name_are_the_same_queue(cluster: Cluster) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(2))
    first = cluster.queue(topic)
    held = await read(first, 2)
    await first.ack(held[:1])
    await die(first)
    port = cluster.brokers.rpartition(":")[2]
    cluster.brokers = f"localhost:{port},127.0.0.1:{port}"
    again = await read(cluster.queue(topic), 1)
    assert [(one.identity, one.id) for one in again] == [(one.identity, one.id) for one in held[1:]]


@mock
async def test_another_group_gets_all_under_the_same_identities(cluster: Cluster) -> None:
    """So the memory knows them, if it is the same."""
    topic = cluster.make()
    cluster.put(topic, *bodies(2))
    first = cluster.queue(topic)
    held = await read(first, 2)
    await first.ack(held)
    others = await read(cluster.queue(topic, "-others"), 2)
    assert [one.identity for one in others] == [one.identity for one in held]
