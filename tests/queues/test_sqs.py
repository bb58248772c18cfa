"""What only SQS does."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import HTTPClientError  # type: ignore[import-untyped]

from sender.queues import QueueError, QueueLost
from sender.queues.queue_url import open_publisher, open_queue
from tests.support.messages import drain, lines, read

if TYPE_CHECKING:
    from tests.queues.brokers import Sqs, SqsFifo

fifo = pytest.mark.parametrize("broker", ["sqs-fifo"], indirect=True)
standard = pytest.mark.parametrize("broker", ["sqs"], indirect=True)


@fifo
async def test_one_message_of_a_group_in_hand(broker: SqsFifo) -> None:
    await broker.put(*lines(6), groups=["a", "a", "a", "b", "b", "c"])
    queue, other = broker.queue(return_after=30.0), broker.queue(return_after=30.0)
    first = await read(queue, 6, within=2)
    assert sorted((message.group, message.data) for message in first) == [
        ("a", lines(6)[0]), ("b", lines(6)[3]), ("c", lines(6)[5])
    ]
    assert list(await other.read(5)) == []
    await queue.ack([message for message in first if message.group == "a"])
    assert [message.data for message in await other.read(5)] == [lines(6)[1]]
    await queue.requeue([message for message in first if message.group == "b"])
    assert [message.data for message in await other.read(5)] == [lines(6)[3]]


@standard
async def test_more_than_ten_at_once(broker: Sqs) -> None:
    await broker.put(*lines(25))
    queue = broker.queue(return_after=30.0)
    found = await read(queue, 25)
    assert len({message.id for message in found}) == 25
    await queue.keep(found)
    await queue.requeue(found[:12])
    await queue.ack(found[12:])
    assert len(await drain(queue, 12)) == 12
    assert list(await queue.read(1)) == []
    assert queue.ack_timeout is not None
    assert queue.ack_timeout < 12 * 3600


@standard
async def test_what_came_before_the_line_broke_is_read(broker: Sqs) -> None:
    """Ten calls make one read: a line that broke at the tenth hid the messages of the nine, and counted them."""
    await broker.put(*lines(25))
    queue: Any = broker.queue(return_after=30.0)
    receive, calls = queue._receive, itertools.count(1)

    async def twice(*arguments: Any, **more: Any) -> Any:
        if next(calls) > 2:
            raise HTTPClientError(error="the line broke")
        return await receive(*arguments, **more)

    queue._receive = twice
    assert len(await queue.read(25)) == 20
    with pytest.raises(QueueLost):
        await queue.read(5)
    queue._receive = receive
    assert {message.deliveries for message in await read(queue, 5)} == {1}


@standard
async def test_a_message_that_came_back_to_its_own_reader_is_not_read_twice(broker: Sqs) -> None:
    await broker.put(*lines(1))
    queue = broker.queue(return_after=1.0)
    held = await read(queue, 1)
    await asyncio.sleep(1.2)
    assert list(await queue.read(1)) == []
    await queue.ack(held)
    await asyncio.sleep(1.2)
    assert list(await queue.read(1)) == []


@standard
async def test_a_letter_that_is_no_text(broker: Sqs) -> None:
    await broker.sink().put(b"\xff\0binary", {"code": "invalid"})
    ((body, reason),) = await broker.letters()
    assert base64.b64decode(body) == b"\xff\0binary"
    assert reason == {"code": "invalid"}


@standard
async def test_refusals(broker: Sqs) -> None:
    missing = broker.url().replace(broker.name, "none-such")
    for opened in (open_queue(missing), open_publisher(missing)):
        with pytest.raises(QueueError, match=r"none-such|NonExistent") as caught:
            await opened.open()
        assert type(caught.value) is QueueError
        await opened.aclose()


@standard
async def test_no_credentials(broker: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    queue: Any = open_queue(broker.url())
    with pytest.raises(QueueError, match="NoCredentials"):
        await queue.open()
    await queue.aclose()
