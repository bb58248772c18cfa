"""What only RabbitMQ does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from sender.queues import QueueError, QueueLost
from sender.queues.queue_url import open_publisher, open_queue
from tests.support.messages import drain, lines, read, stays_empty
from tests.support.servers import free_port

if TYPE_CHECKING:
    from tests.queues.brokers import Rabbit

both = pytest.mark.parametrize("broker", ["rabbit-classic", "rabbit-quorum"], indirect=True)
classic = pytest.mark.parametrize("broker", ["rabbit-classic"], indirect=True)


@both
async def test_held_past_the_ack_timeout_it_comes_back(broker: Rabbit) -> None:
    server: Any = broker.server
    server.evaluate("application:set_env(rabbit, consumer_timeout, 1000).")
    try:
        await broker.put(*lines(1))
        queue = broker.queue()
        held = await read(queue, 1)
        await asyncio.sleep(3.5)
        server.evaluate("application:set_env(rabbit, consumer_timeout, 1800000).")
        await queue.ack(held)  # too late: dropped
        (found,) = await drain(queue, 1)
        assert (found.data, found.id, found.deliveries) == (held[0].data, held[0].id, 2)
        await stays_empty(queue)
    finally:
        server.evaluate("application:set_env(rabbit, consumer_timeout, 1800000).")
    assert queue.ack_timeout is not None
    assert queue.ack_timeout < 1800


@both
async def test_a_copy_keeps_everything_but_the_count(broker: Rabbit) -> None:
    async with broker.channel() as channel:
        message = aio_pika.Message(
            b"{}", message_id="m1", correlation_id="c1", priority=3, content_type="application/json",
            headers={"a": [1]}, app_id="shop", type="receipt", timestamp=1795218981, expiration=3600, delivery_mode=2,
        )
        await channel.default_exchange.publish(message, routing_key=broker.name)
        queue = broker.queue()
        await queue.requeue(await read(queue, 1))
        copy = await (await channel.get_queue(broker.name)).get()
        await copy.ack()
    for name in ("body", "message_id", "correlation_id", "priority", "content_type", "app_id", "type", "timestamp",
                 "expiration", "delivery_mode"):
        assert getattr(copy, name) == getattr(message, name), name
    headers = {name: value for name, value in copy.headers.items() if name != "x-delivery-count"}
    identity = f"amqp/%2F/{broker.name}/m1"
    assert headers == {"a": [1], "x-sender-deliveries": 0, "x-sender-id": identity}


@classic
async def test_without_a_message_id_the_content_names_it(broker: Rabbit) -> None:
    async with broker.channel() as channel:
        for body, when in ((b"{}", 1), (b"{}", 2), (b"[]", 1)):
            message = aio_pika.Message(body, timestamp=when)
            await channel.default_exchange.publish(message, routing_key=broker.name)
    queue = broker.queue()
    first = await read(queue, 3)
    assert len({message.id for message in first}) == 3
    await queue.requeue(first)
    assert {message.id for message in await drain(queue, 3)} == {message.id for message in first}


@both
async def test_two_messages_with_one_id_are_both_acknowledged(broker: Rabbit) -> None:
    async with broker.channel() as channel:
        for body in (b"1", b"2"):
            await channel.default_exchange.publish(aio_pika.Message(body, message_id="same"), routing_key=broker.name)
    queue = broker.queue()
    found = await read(queue, 2)
    assert [(message.id, message.data) for message in found] == [("same", b"1"), ("same", b"2")]
    await queue.ack(found)
    await queue.aclose()
    await stays_empty(broker.queue())


@classic
async def test_a_full_queue_gets_its_message_back_all_the_same(broker: Rabbit) -> None:
    name = f"{broker.name}-full"
    async with broker.channel() as channel:
        arguments: Any = {"x-max-length": 1, "x-overflow": "reject-publish"}
        await channel.declare_queue(name, durable=True, arguments=arguments)
        await channel.default_exchange.publish(aio_pika.Message(b"1", message_id="1"), routing_key=name)
        queue = open_queue(broker.url().replace(f"queue={broker.name}", f"queue={name}"))
        held = await read(queue, 1)
        await channel.default_exchange.publish(aio_pika.Message(b"2", message_id="2"), routing_key=name)
        await queue.requeue(held)
        await queue.aclose()
        declared = await channel.declare_queue(name, passive=True)
        assert declared.declaration_result.message_count == 2


@classic
async def test_a_count_in_a_header_that_is_none(broker: Rabbit) -> None:
    async with broker.channel() as channel:
        for value in ("many", -5, 2**40, True):
            headers: Any = {"x-sender-deliveries": value, "traceparent": "00-x"}
            await channel.default_exchange.publish(aio_pika.Message(b"{}", headers=headers), routing_key=broker.name)
    found = await drain(broker.queue(), 4)
    assert {message.deliveries for message in found} <= {1, 2}
    assert found[0].headers == {"traceparent": "00-x"}


@classic
async def test_a_letter_that_reaches_no_queue_is_an_error(broker: Rabbit) -> None:
    sink = broker.sink()
    await sink.put(b"first", {"code": "x"})
    async with broker.channel() as channel:
        await channel.queue_delete(f"{broker.name}-dead")
    with pytest.raises(QueueError):
        await sink.put(b"second", {"code": "x"})


@classic
async def test_refusals_name_the_queue_and_no_password(broker: Rabbit) -> None:
    wrong = broker.url(credentials="guest:s3cret@")
    missing = broker.url().replace(f"queue={broker.name}", "queue=none-such")
    for opened in (open_queue(wrong), open_queue(missing), open_publisher(wrong), open_publisher(missing)):
        with pytest.raises(QueueError) as caught:
            await opened.open()
        assert type(caught.value) is QueueError
        assert "s3cret" not in str(caught.value)
        assert "***@127.0.0.1" in str(caught.value)
        await opened.aclose()


@both
async def test_messages_are_pushed_and_not_fetched_one_by_one(broker: Rabbit) -> None:
    """One round trip for each: under 100 a second where a round trip takes 10 ms."""
    await broker.put(*lines(200))
    queue = broker.queue(in_hand=500)
    await queue.open()
    broker.proxy.delay = 0.02
    start = time.monotonic()
    found = await read(queue, 200)
    took = time.monotonic() - start
    broker.proxy.delay = 0.0
    assert [message.data for message in found] == lines(200)
    assert took < 200 * 0.04, "so long take as many round trips, however fast the machine is"
    await queue.ack(found)


@both
async def test_a_memory_alarm_holds_up_what_is_published_and_not_what_is_read(broker: Rabbit) -> None:
    """100 messages a second became 4: what was given back was published on the connection that reads."""
    server: Any = broker.server
    await broker.put(*lines(30))
    queue, sink = broker.queue(), broker.sink()
    alarm = "{resource_limit, memory, node()}"
    server.evaluate(f"rabbit_alarm:set_alarm({{{alarm}, []}}).")
    try:
        for _ in range(2):
            with pytest.raises(QueueLost, match="memory or disk is low"):
                await sink.put(b"letter", {"code": "x"})
        for _ in range(3):
            found = await read(queue, 10)
            assert len(found) == 10
            await queue.requeue(found[:1])  # goes back, and is counted
            await queue.ack(found[1:])
        assert {message.data for message in await drain(queue, 3)} <= set(lines(30))
        await stays_empty(queue)
    finally:
        server.evaluate(f"rabbit_alarm:clear_alarm({alarm}).")
    async with asyncio.timeout(20):
        while not await _is_taken(sink):
            await asyncio.sleep(0.1)
    assert b"letter" in {body for body, _ in await broker.letters()}


@both
async def test_a_letter_that_is_tried_over_and_over_in_a_memory_alarm_is_written_once(broker: Rabbit) -> None:
    """Each connection kept a copy, which RabbitMQ took when the alarm was over: 31 letters of 10 messages."""
    server: Any = broker.server
    sinks = [broker.sink() for _ in range(3)]
    alarm = "{resource_limit, memory, node()}"
    server.evaluate(f"rabbit_alarm:set_alarm({{{alarm}, []}}).")
    try:
        for sink in sinks * 2:
            with pytest.raises(QueueLost, match="memory or disk is low"):
                await sink.put(b"letter", {"code": "x"})
    finally:
        server.evaluate(f"rabbit_alarm:clear_alarm({alarm}).")
    async with asyncio.timeout(30):
        while True:
            try:
                await sinks[0].put(b"letter", {"code": "x"})
                break
            except QueueLost:
                await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    assert [body for body, _ in await broker.letters()] == [b"letter"]


@both
async def test_a_body_for_which_there_is_no_room_stays_in_the_queue(broker: Rabbit) -> None:
    """What RabbitMQ pushes is bounded by number alone: large ones after small ones are dropped as they arrive."""
    await broker.put(*lines(60), *[b"%d" % number * 100_000 for number in range(10, 30)])
    queue: Any = broker.queue()
    queue.read_bytes = 500_000
    seen: set[bytes] = set()
    while len(seen) < 80 and (got := await read(queue, 50, within=5)):
        seen |= {message.data for message in got}
        await queue.ack(got)
    assert seen == {*lines(60), *[b"%d" % number * 100_000 for number in range(10, 30)]}
    assert queue._connection._client.pushed._window <= 5, "few are asked for while they are large"


async def _is_taken(sink: Any) -> bool:
    try:
        await sink.put(b"letter", {"code": "x"})
    except QueueLost:
        return False
    return True


async def test_a_server_that_closes_before_it_greets_us_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the consumer as a fault of its own: a server that started anew took the replicas with it that were too
    busy to look before it had closed."""
    connect = asyncio.open_connection

    async def connect_late(*arguments: Any, **more: Any) -> Any:
        opened = await connect(*arguments, **more)
        await asyncio.sleep(0.1)
        return opened

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    monkeypatch.setattr(asyncio, "open_connection", connect_late)
    async with await asyncio.start_server(close, "127.0.0.1", 0) as closing:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{closing.sockets[0].getsockname()[1]}"
        for url in (f"amqp://guest:guest@{hosts}/?queue=jobs", f"amqp://guest:guest@{hosts.partition(',')[2]},h/?queue=j"):
            queue = open_queue(url)
            with pytest.raises(QueueLost):
                await queue.open()
            await queue.aclose()
