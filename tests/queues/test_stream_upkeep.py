"""Redis streams do not grow for ever, and lose nothing by it; readers that left leave no name; a clock that was set
back holds no message up."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.queues import stream_upkeep
from sender.queues.queue import QueueError
from sender.queues.queue_url import open_queue
from tests.support.messages import die, drain, lines, read

if TYPE_CHECKING:
    from tests.queues.brokers import Redis

pytestmark = pytest.mark.parametrize("broker", ["redis"], indirect=True)
MANY = 2000


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_upkeep, "EVERY", 0.0)


async def consume_all(queue: Any, number: int) -> set[str]:
    """The ids of so many messages, read and acknowledged by a hundred."""
    done: set[str] = set()
    while len(done) < number:
        got = await read(queue, min(100, number - len(done)))
        await queue.ack(got)
        done |= {message.id for message in got}
    await queue.read(1)
    return done


async def length(broker: Redis) -> int:
    async with broker.client() as client:
        return int(await client.xlen(broker.name))


async def test_what_a_group_that_is_alone_acknowledged_is_taken_out(broker: Redis) -> None:
    """552 bytes a job stayed for ever: queue and state on one server stood still after 16 MB."""
    await broker.put(*lines(MANY))
    queue = broker.queue(in_hand=200, return_after=30.0)
    await consume_all(queue, MANY)
    assert await length(broker) < 150, "whole nodes go, the rest with the next"
    assert await queue.lag() == 0, "the lag is still known"


async def test_what_is_in_hand_or_not_read_stays(broker: Redis) -> None:
    await broker.put(*lines(MANY))
    holder, queue = broker.queue(in_hand=1, return_after=30.0), broker.queue(in_hand=300, return_after=30.0)
    (held,) = await read(holder, 1)
    for _ in range(5):
        await queue.ack(await read(queue, 100))
    assert await queue.read(1)
    assert await length(broker) == MANY, "the first one is still in hand"
    await holder.ack([held])
    assert await queue.read(1)
    assert MANY - 600 <= await length(broker) <= MANY - 400
    assert len(await consume_all(broker.queue(in_hand=200, return_after=30.0), MANY - 503)) == MANY - 503


@pytest.mark.parametrize(("trim", "stays"), [("", True), ("&trim=never", True), ("&trim=acked", False)])
async def test_beside_another_group_only_what_all_have_acknowledged_goes_and_only_when_asked(
    broker: Redis, trim: str, stays: bool
) -> None:
    await broker.put(*lines(MANY))
    other = open_queue(broker.url().replace("senders", "others") + "&trim=never", in_hand=200, return_after=30.0)
    await read(other, 1)
    queue = open_queue(broker.url(more=trim), in_hand=200, return_after=30.0)
    broker._open += [other, queue]
    with capture_logs() as logs:
        await consume_all(queue, MANY)
        assert await length(broker) == MANY, "the other group has acknowledged nothing"
        await other.ack(await read(other, 99))
        await queue.read(1)
        assert (await length(broker) == MANY) == stays or trim == "&trim=acked"
    told = [one for one in logs if "other groups" in one["event"]]
    assert len(told) == (1 if not trim else 0)


async def test_a_reader_that_may_not_trim_says_so_and_reads_on(broker: Redis) -> None:
    async with broker.client() as client:
        await client.execute_command("ACL SETUSER", "reader", "on", ">pw", "~*", "+@all", "-xtrim")
    await broker.put(*lines(3))
    url = broker.url(credentials="reader:pw@")
    queue = open_queue(url, return_after=30.0)
    broker._open.append(queue)
    with capture_logs() as logs:
        await consume_all(queue, 3)
    assert [one["event"][:30] for one in logs] == ["the stream cannot be trimmed: "]


async def test_a_dead_letter_stream_holds_what_its_url_allows(broker: Redis) -> None:
    from sender.queues.queue_url import open_publisher

    sink = open_publisher(broker.sink_url() + "&maxlen=100")
    broker._open.append(sink)
    await sink.append([b"{}"] * 1000)
    async with broker.client() as client:
        assert 100 <= await client.xlen(f"{broker.name}-dead") < 300


async def test_an_error_of_the_server_repeats_no_job(broker: Redis) -> None:
    """The library's text holds the whole command: addresses of 150 jobs stood in the log."""
    from sender.queues.queue_url import open_publisher

    async with broker.client() as client:
        await client.set(f"{broker.name}-dead", "no stream")
    sink = open_publisher(broker.sink_url())
    broker._open.append(sink)
    with pytest.raises(QueueError, match="WRONGTYPE") as caught:
        await sink.append([b'{"to": "ada.secret@example.com", "identifiers": {"id": "person0"}}'] * 2)
    assert "secret" not in str(caught.value)
    assert "person0" not in str(caught.value)


async def test_names_of_readers_that_left_leave_the_group(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drained replica's name stayed where its messages were given back, one for each restart."""
    monkeypatch.setattr(stream_upkeep, "GONE", 300)
    await broker.put(*lines(3))
    for _ in range(4):
        drained = broker.queue(return_after=30.0)
        await drained.requeue(await read(drained, 3))
        await drained.aclose()
    last = broker.queue(return_after=30.0)
    await last.ack(await drain(last, 3))
    await asyncio.sleep(0.4)
    await last.read(1)
    async with broker.client() as client:
        names = [one["name"] for one in await client.xinfo_consumers(broker.name, "senders")]
    assert names == [last._own]  # type: ignore[attr-defined]


async def test_what_a_dead_reader_held_before_the_clock_was_set_back_is_taken_over(broker: Redis) -> None:
    """A clock that was set back by 50 s delayed the take-over by as much."""
    await broker.put(*lines(2))
    reader = broker.queue(return_after=1.0)
    await read(reader, 2)
    await die(reader)
    async with broker.client() as client:
        held: Any = await client.xpending_range(broker.name, "senders", "-", "+", 9)
        ids = [one["message_id"] for one in held]
        await client.xclaim(broker.name, "senders", "dead", 0, ids, time=1234567890123, justid=True)
        payload = await client.dump(broker.name)
        assert payload is not None
        future = int((await client.time())[0]) * 1000 + 3_600_000
        await client.restore(broker.name, 0, set_back(payload, 1234567890123, future), replace=True)
    with capture_logs() as logs:
        found = await drain(broker.queue(return_after=1.0), 2)
    assert [message.deliveries for message in found] == [2, 2]
    assert sum("clock was set back" in one["event"] for one in logs) >= 1


async def test_a_backlog_of_our_own_hides_no_dead_reader(broker: Redis) -> None:
    """Only the first thousand entries of the group were looked at, and those were its own, parked for long; and each
    further thousand of the dead reader's waited for as long as the first."""
    await broker.put(*lines(1300))
    mine = broker.queue(return_after=1.0, in_hand=2000)
    assert len(await read(mine, 1100)) == 1100
    async with broker.client() as client:
        await client.xreadgroup("senders", "dead", {broker.name: ">"})
        held: Any = await client.xpending_range(broker.name, "senders", "-", "+", 2000, "dead")
        ids = [one["message_id"] for one in held]
        assert len(ids) == 200
        await client.xclaim(broker.name, "senders", "dead", 0, ids, time=1234567890123, justid=True)
        payload = await client.dump(broker.name)
        assert payload is not None
        future = int((await client.time())[0]) * 1000 + 3_600_000
        await client.restore(broker.name, 0, set_back(payload, 1234567890123, future), replace=True)
    found: list[Any] = []
    async with asyncio.timeout(10):
        while len(found) < 200:
            found += await mine.read(40)
    assert {message.handle for message in found} == set(ids)


def set_back(payload: bytes, then: int, now: int) -> bytes:
    """A dumped stream whose entries were given out at another time."""
    body = payload[:-8].replace(struct.pack("<q", then), struct.pack("<q", now))
    return body + struct.pack("<Q", crc64(body))


def crc64(data: bytes) -> int:
    """As Redis has it (Jones, reflected)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc
