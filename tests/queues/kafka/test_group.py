"""What a group's readers promise beyond what every queue does: gaps, rebalances, keys, and messages that are none."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from sender.queues import QueueError, QueueLost
from sender.queues.kafka import client as kafka_client
from sender.queues.queue_url import open_publisher
from tests.queues.kafka.numbered import bodies, mock, numbers, real
from tests.support.kafka_server import PASSWORD, USER
from tests.support.messages import die, read

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from sender.queues import Message, Queue
    from tests.queues.kafka.conftest import Cluster


@real
async def test_gaps_survive_a_change_of_readers(cluster: Cluster) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(10))
    first = cluster.queue(topic)
    held = {numbers([one])[0]: one for one in await read(first, 10)}
    assert sorted(held) == list(range(10))
    await first.ack([held[3], held[5], held[7]])
    await first.requeue([held[1]])
    await die(first)
    second = cluster.queue(topic)
    again = {numbers([one])[0]: one for one in await read(second, 7)}
    assert sorted(again) == [0, 1, 2, 4, 6, 8, 9]
    assert [again[number].deliveries for number in (0, 1, 9)] == [2, 1, 2]
    assert {number: one.id for number, one in again.items()} == {number: held[number].id for number in again}
    await second.ack(again.values())
    assert await second.lag() == 0
    assert list(await second.read(5)) == []


@real
async def test_jobs_of_a_partition_end_before_it_is_another_readers(cluster: Cluster) -> None:
    """What ends during the revoke was acknowledged, and what goes back is uncounted, when the other reads it."""
    topic = cluster.make(partitions=2)
    cluster.put(topic, *bodies(6), partition=0)
    cluster.put(topic, *bodies(6, 6), partition=1)
    first, second = cluster.queue(topic), cluster.queue(topic)
    mine = {one.id: one for one in await read(first, 12)}
    leaving: list[Message] = []
    ended: list[Message] = []

    async def leave(messages: Collection[Message]) -> None:
        leaving.extend(messages)
        chosen = sorted(messages, key=lambda one: one.id)
        await first.requeue(chosen[3:])
        await asyncio.sleep(0.3)
        await first.ack(chosen[:3])
        ended.extend(chosen[:3])

    first.on_revoked = leave
    reading = asyncio.create_task(keep_reading(first))
    theirs = await read(second, 3, within=25)
    reading.cancel()
    assert len(leaving) == 6
    assert len({one.id.split("/")[1] for one in leaving}) == 1, "one partition moved"
    assert {one.id for one in theirs} == {one.id for one in leaving} - {one.id for one in ended}
    assert {one.deliveries for one in theirs} == {1}
    await second.ack(theirs)
    await first.ack([one for one in mine.values() if one not in leaving])
    assert await second.lag() == 0


async def keep_reading(queue: Queue) -> None:
    """As a consumer does, whose lanes have room."""
    while True:
        try:
            await queue.read(1)
        except QueueLost:
            await asyncio.sleep(0.1)


async def test_a_key_keeps_its_order_where_it_is_asked_for(cluster: Cluster) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(3), key=b"ada")
    cluster.put(topic, *bodies(2, 3), key=b"bob")
    cluster.put(topic, *bodies(2, 5))
    queue = cluster.queue(topic, "&order=key")
    first = await read(queue, 4)
    assert numbers(first) == [0, 3, 5, 6]
    assert list(await queue.read(5)) == []
    ada = next(one for one in first if numbers([one]) == [0])
    await queue.requeue([ada])
    (ada,) = await read(queue, 1)
    assert numbers([ada]) == [0]
    await queue.ack([ada])
    (second,) = await read(queue, 1)
    assert numbers([second]) == [1]
    await queue.ack([*first, second])
    assert numbers(await read(queue, 2)) == [2, 4]


async def test_delayed_messages_wait_for_their_time_and_hold_up_no_other_partition(cluster: Cluster) -> None:
    """A timestamp from the future, of a clock that is wrong, holds nothing up for longer."""
    topic, hour = cluster.make(partitions=4), 3600
    now = time.time()
    cluster.put_at(topic, now, *bodies(2), partition=0)
    cluster.put_at(topic, now - hour, *bodies(3, 2), partition=1)
    cluster.put_at(topic, now + hour, *bodies(1, 5), partition=2)
    cluster.put_at(topic, now - hour, *bodies(1, 6), partition=2)
    queue = cluster.queue(topic, "&delay=4")
    first = await read(queue, 3)
    assert time.time() < now + 4, "this machine is too slow for this test"
    assert numbers(first) == [2, 3, 4]
    assert await queue.lag() == 7
    rest = await read(queue, 4)
    assert numbers(rest) == [0, 1, 5, 6]
    assert time.time() >= now + 4
    assert {one.deliveries for one in rest} == {1}
    await queue.ack([*first, *rest])
    assert await queue.lag() == 0


async def test_null_values_are_empty_job_lines(cluster: Cluster) -> None:
    topic = cluster.make()
    cluster.put(topic, None, b"", key=b"deleted")
    queue = cluster.queue(topic)
    found = await read(queue, 2)
    assert [(one.data, one.unread) for one in found] == [(b"", 0)] * 2
    await queue.ack(found)
    assert await queue.lag() == 0


@mock
async def test_a_reader_stays_in_its_group_while_nothing_is_read(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pacer may wait for longer than the group does for a poll."""
    shorten(monkeypatch, max_poll_interval_ms=6500, session_timeout_ms=6000)
    topic = cluster.make()
    cluster.put(topic, *bodies(2))
    queue = cluster.queue(topic)
    held = await read(queue, 1)
    with capture_logs() as logs:
        ends = time.monotonic() + 9
        while time.monotonic() < ends:
            await asyncio.sleep(0.5)
        rest = await read(queue, 1)
    assert numbers([*held, *rest]) == [0, 1]
    assert (rest[0].deliveries, logs) == (1, [])


def shorten(patch: pytest.MonkeyPatch, **short: int) -> None:
    """The times of a group's members, in milliseconds; names have underscores for dots."""
    of, times = kafka_client.KafkaSettings.of, {name.replace("_", "."): value for name, value in short.items()}
    patch.setattr(
        kafka_client.KafkaSettings, "of",
        lambda self, kind, **more: of(self, kind, **more) | (times if "heartbeat_interval_ms" in more else {}),
    )


@real
async def test_a_reader_that_stalled_for_longer_than_its_group_waits_goes_on_with_what_it_gets(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process that was stopped: nothing is lost, and what was in hand comes again, counted."""
    shorten(monkeypatch, session_timeout_ms=1500, max_poll_interval_ms=2000, heartbeat_interval_ms=300)
    topic = cluster.make()
    cluster.put(topic, *bodies(4))
    queue: Any = cluster.queue(topic)
    left: list[Message] = []

    async def leave(messages: Collection[Message]) -> None:
        left.extend(messages)

    queue.on_revoked = leave
    held = await read(queue, 3)
    await queue.ack(held[:1])
    with capture_logs() as logs:
        queue._connection._client._polled.work.put(lambda: time.sleep(4))
        found = await read(queue, 3, within=30)
    assert [one["event"] for one in logs] == ["the group has taken partitions from us that it thought dead"]
    assert left == held[1:]
    assert {numbers([one])[0]: one.deliveries for one in found} == {1: 2, 2: 2, 3: 1}
    await queue.ack(held[1:])
    await queue.ack(found)
    assert await queue.lag() == 0


@real
async def test_a_partition_that_went_while_it_was_paused_is_read_when_it_comes_back(cluster: Cluster) -> None:
    """The library remembered the pause, and nobody read it until it moved again."""
    topic = cluster.make(partitions=2)
    cluster.put(topic, *bodies(1))
    first: Any = cluster.queue(topic)
    await first.ack(await read(first, 1))
    ends = time.monotonic() + 20
    while len(first._connection._client._polled._paused) < 2 and time.monotonic() < ends:
        await asyncio.sleep(0.1)
    second: Any = cluster.queue(topic)
    ends = time.monotonic() + 30
    await second.read(1)
    while not second._connection._client._polled.partitions.numbers and time.monotonic() < ends:
        await second.read(1)
    await second.aclose()
    cluster.put(topic, *bodies(2, 1), partition=0)
    cluster.put(topic, *bodies(2, 3), partition=1)
    assert numbers(await read(first, 4, within=30)) == [1, 2, 3, 4]


@real
async def test_a_group_that_others_are_in_who_share_otherwise_is_told(cluster: Cluster) -> None:
    """A consumer read nothing for ever, and said that it was ready."""
    topic = cluster.make()
    cluster.put(topic, *bodies(2))
    settings = {"bootstrap.servers": cluster.brokers, "group.id": f"senders-{topic}", "log_level": 0}
    with closing(Consumer({**settings, "partition.assignment.strategy": "range"})) as other:
        other.subscribe([topic])
        ends = time.monotonic() + 20
        while not other.assignment() and time.monotonic() < ends:
            other.poll(0.1)
        queue = cluster.queue(topic)
        with pytest.raises(QueueError, match="give this consumer a group of its own") as caught:
            await read(queue, 1, within=20)
    assert not isinstance(caught.value, QueueLost)
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        with suppress(QueueError):
            if found := await queue.read(2):
                break
        await asyncio.sleep(0.1)
    assert numbers(found) == [0, 1], "it goes on once they have left"


@real
async def test_headers_that_others_wrote_are_no_marks_of_ours(cluster: Cluster) -> None:
    topic = cluster.make()
    strange: list[Any] = [
        ("x-sender-id", b"\xff\xfe\x00"), ("x-sender-id", b"a\x00b"), ("x-sender-id", None), ("x-sender-id", b""),
        ("x-sender-id", b"x" * 100_000), ("x-sender-retry", b"\xff"), ("x-sender-retry", "\u0663".encode()),
        ("x-sender-retry", b"-5"), ("traceparent", None), ("", b"no name"), ("n" * 1000, bytes(range(256))),
    ]
    producer = Producer({"bootstrap.servers": cluster.brokers})
    for number, header in enumerate(strange):
        producer.produce(topic, bodies(1, number)[0], b"\x00\xff", 0, headers=[header])
    assert producer.flush(20) == 0
    queue = cluster.queue(topic)
    found = await read(queue, len(strange))
    assert numbers(found) == list(range(len(strange)))
    assert [one.retries for one in found] == [0] * len(strange)
    assert all((one.identity or "").startswith(f"kafka/{topic}/") for one in found)
    await queue.ack(found)


@real
async def test_transactions_are_read_when_they_are_committed_and_then_wholly(cluster: Cluster) -> None:
    topic = cluster.make()
    producer = Producer({"bootstrap.servers": cluster.brokers, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(20)
    queue = cluster.queue(topic)
    commit, abort = producer.commit_transaction, producer.abort_transaction
    for number, end in enumerate((commit, abort, commit)):
        producer.begin_transaction()
        for body in bodies(2, 2 * number):
            producer.produce(topic, body, partition=0)
        producer.flush(20)
        if number == 2:
            await queue.ack(await read(queue, 2))
            assert list(await queue.read(2)) == [], "it is open"
        end(20)
    found = await read(queue, 2)
    assert numbers(found) == [4, 5]
    await queue.ack(found)
    for _ in range(100):
        if not (lag := await queue.lag()):
            break
        await queue.read(1)
    assert lag == 0, "marks of transactions are no messages"


@real
async def test_messages_that_retention_deleted_are_told(cluster: Cluster) -> None:
    """Nobody else says that they were never sent."""
    topic = cluster.make()
    cluster.put(topic, *bodies(4))
    queue = cluster.queue(topic)
    await queue.ack(await read(queue, 1))
    await queue.aclose()
    with AdminClient({"bootstrap.servers": cluster.brokers}) as admin:
        for future in admin.delete_records([TopicPartition(topic, 0, 3)]).values():
            future.result(20)
    with capture_logs() as logs:
        assert numbers(await read(queue, 1)) == [3]
    assert [(one["stood_at"], one["begins_at"]) for one in logs] == [(1, 3)]


@real
async def test_a_topic_that_is_not_there(cluster: Cluster) -> None:
    for opened in (cluster.queue("nothing"), open_publisher(f"kafka://{cluster.brokers}/nothing")):
        with pytest.raises(QueueError, match="there is no topic nothing; make it first"):
            await opened.open()
        await opened.aclose()


@mock
async def test_a_reader_of_the_lag_takes_no_partition(cluster: Cluster) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(3))
    watcher, reader = cluster.queue(topic), cluster.queue(topic)
    assert await watcher.lag() == 3
    assert not await watcher.left_since(0.0)
    assert numbers(await read(reader, 3)) == [0, 1, 2]
    await asyncio.sleep(0.2)
    assert await watcher.left_since(0.1)
    assert not await watcher.left_since(3600.0)


@real
async def test_users_and_passwords_stand_in_the_properties(cluster: Cluster, tmp_path: Path) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(1))
    properties = tmp_path / "kafka.properties"
    text = f"# ours\nsecurity.protocol = SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username={USER}\nsasl.password="
    cluster.brokers = f"127.0.0.1:{cluster.server.sasl_port}"
    properties.write_text(text + PASSWORD)
    assert numbers(await read(cluster.queue(topic, f"&properties={properties}"), 1)) == [0]
    properties.write_text(text + "wrong-horse")
    with pytest.raises(QueueError) as caught:
        await cluster.queue(topic, f"&properties={properties}").open()
    assert not isinstance(caught.value, QueueLost), "waiting does not help"
    assert "uthentication failed" in str(caught.value)
    assert "wrong-horse" not in str(caught.value)


@real
async def test_a_password_over_tls(cluster: Cluster, tmp_path: Path) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(1))
    cluster.brokers = f"localhost:{cluster.server.sasl_tls_port}"
    properties = tmp_path / "kafka.properties"
    text = f"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username={USER}\nsasl.password={PASSWORD}\n"
    properties.write_text(f"{text}ssl.ca.location={cluster.server.authority}")
    queue = cluster.queue(topic, f"&properties={properties}")
    found = await read(queue, 1)
    assert numbers(found) == [0]
    await queue.ack(found)
    assert await queue.lag() == 0
    properties.write_text(text)
    with pytest.raises(QueueError) as caught:
        await cluster.queue(topic, f"&properties={properties}").open()
    assert "ertificate" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@real
async def test_tls_trusts_whom_the_properties_name(cluster: Cluster, tmp_path: Path) -> None:
    topic = cluster.make()
    cluster.put(topic, *bodies(1))
    properties = tmp_path / "kafka.properties"
    text = "security.protocol=SSL\n"
    properties.write_text(f"{text}ssl.ca.location={cluster.server.authority}")
    cluster.brokers = f"localhost:{cluster.server.tls_port}"
    queue = cluster.queue(topic, f"&properties={properties}")
    found = await read(queue, 1)
    assert numbers(found) == [0]
    await queue.ack(found)
    sink = open_publisher(f"kafka://{cluster.brokers}/{topic}?properties={properties}")
    await sink.append([b'{"id": "job-1"}'])
    await sink.aclose()
    assert numbers(await read(queue, 1)) == [1]
    properties.write_text(text)
    with pytest.raises(QueueError) as caught:
        await cluster.queue(topic, f"&properties={properties}").open()
    assert "ertificate" in str(caught.value)
