"""What only JetStream does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from sender.queues import QueueError
from sender.queues.queue_url import open_publisher, open_queue
from tests.support.messages import drain, lines, read

if TYPE_CHECKING:
    from tests.queues.brokers import Nats

pytestmark = pytest.mark.parametrize("broker", ["jetstream"], indirect=True)


async def test_in_progress_outlasts_the_ack_wait_of_a_consumer_that_was_there(broker: Nats) -> None:
    async with broker.jetstream() as jetstream:
        config = ConsumerConfig(durable_name="senders", ack_policy=AckPolicy.EXPLICIT, ack_wait=1.2)
        await jetstream.add_consumer(broker.name, config)
        await broker.put(*lines(1))
        queue, other = broker.queue(return_after=30.0), broker.queue(return_after=30.0)
        held = await read(queue, 1)
        assert queue.keep_every == pytest.approx(0.4)
        other._wait = 0.2  # type: ignore[attr-defined]
        for _ in range(10):
            assert list(await asyncio.wait_for(other.read(1), 5)) == []
            await queue.keep(held)
        await queue.ack(held)
        assert (await jetstream.consumer_info(broker.name, "senders")).num_ack_pending == 0


async def test_requeues_are_forgotten_when_the_job_is_done(broker: Nats) -> None:
    await broker.put(*lines(1))
    queue = broker.queue()
    await queue.requeue(await read(queue, 1))
    async with broker.jetstream() as jetstream:
        bucket = await jetstream.key_value(queue._bucket)  # type: ignore[attr-defined]
        assert (await bucket.get("1")).value == b"1"
        assert [message.deliveries for message in await drain(queue, 1)] == [1]
        with pytest.raises(Exception, match="nats: key"):
            await bucket.get("1")


async def test_a_stream_made_anew_has_other_ids(broker: Nats) -> None:
    await broker.put(*lines(1))
    (old,) = await drain(broker.queue(), 1)
    async with broker.jetstream() as jetstream:
        await jetstream.delete_stream(broker.name)
        await asyncio.sleep(1)
        await jetstream.add_stream(StreamConfig(name=broker.name, subjects=[f"{broker.name}.in"]))
    await broker.put(*lines(1))
    (new,) = await drain(broker.queue(), 1)
    assert new.id != old.id
    assert new.id.rpartition("/")[2] == old.id.rpartition("/")[2] == "1"


async def test_refusals(broker: Nats) -> None:
    missing = broker.url().replace(broker.name, "NONE-SUCH")
    for opened in (open_queue(missing), open_publisher(missing.replace("&consumer=senders", ""))):
        with pytest.raises(QueueError, match="there is no stream NONE-SUCH") as caught:
            await opened.open()
        assert type(caught.value) is QueueError
        await opened.aclose()
    async with broker.jetstream() as jetstream:
        await jetstream.add_consumer(broker.name, ConsumerConfig(durable_name="none", ack_policy=AckPolicy.NONE))
        wild = f"{broker.name}-WILD"
        await jetstream.add_stream(StreamConfig(name=wild, subjects=[f"{wild}.>"]))
        await jetstream.add_consumer(
            broker.name, ConsumerConfig(durable_name="drops", ack_policy=AckPolicy.EXPLICIT, max_deliver=3)
        )
    for consumer, says in (("none", "explicit"), ("drops", "max_deliver")):
        queue = open_queue(broker.url().replace("consumer=senders", f"consumer={consumer}"))
        with pytest.raises(QueueError, match=says):
            await queue.open()
        await queue.aclose()
    with pytest.raises(QueueError, match="needs a subject"):
        await broker.sink(wild).put(b"line", {"code": "x"})


async def test_a_consumer_that_was_deleted_is_made_anew(broker: Nats) -> None:
    """The server answers no read of it, and says nothing either: nothing more was read, for ever."""
    queue = broker.queue()
    assert list(await queue.read(10)) == []
    async with broker.jetstream() as jetstream:
        await jetstream.delete_consumer(broker.name, "senders")
        await broker.put(*lines(3))
        assert len(await read(queue, 3)) == 3


async def test_a_stream_made_anew_while_it_is_read_has_other_ids(broker: Nats) -> None:
    """Its sequence begins anew: its messages were taken for those that had been sent, and acknowledged."""
    queue = broker.queue()
    await broker.put(*lines(2))
    old = await drain(queue, 2)
    async with broker.jetstream() as jetstream:
        await jetstream.delete_stream(broker.name)
        await asyncio.sleep(1)
        await jetstream.add_stream(StreamConfig(name=broker.name, subjects=[f"{broker.name}.in"]))
        config = ConsumerConfig(durable_name="senders", ack_policy=AckPolicy.EXPLICIT, ack_wait=1.0)
        await jetstream.add_consumer(broker.name, config)
    await broker.put(*lines(2))
    new = await read(queue, 2)
    assert [message.deliveries for message in new] == [1, 1], "a new memory takes what comes again for a loss"
    assert not {message.identity for message in new} & {message.identity for message in old}


async def test_what_was_fetched_outlives_a_fetch_that_fails(broker: Nats) -> None:
    """The first messages of a read whose second part broke came again only after the ack wait, counted."""
    queue = broker.queue(return_after=60.0)
    fetch, failures = queue._fetch, iter([False, True])  # type: ignore[attr-defined]

    async def break_second(*arguments: object) -> object:
        if next(failures, False):
            raise ConnectionResetError
        return await fetch(*arguments)

    queue._fetch = break_second  # type: ignore[attr-defined]
    await broker.put(*lines(1))
    assert [message.deliveries for message in await read(queue, 3, within=5)] == [1]


async def test_when_a_message_returns_is_what_the_consumer_that_was_there_says(broker: Nats) -> None:
    """By that a state that was lost is known; with an ack wait of minutes it was not, and messages were sent again."""
    async with broker.jetstream() as jetstream:
        config = ConsumerConfig(durable_name="senders", ack_policy=AckPolicy.EXPLICIT, ack_wait=300.0)
        await jetstream.add_consumer(broker.name, config)
    queue = broker.queue(return_after=30.0)
    await queue.open()
    assert queue.return_after == pytest.approx(300)
