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
