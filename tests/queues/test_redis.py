"""What only Redis Streams do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sender.queues import QueueError
from sender.queues.queue_url import open_publisher, open_queue
from tests.support.messages import die, drain, lines, read
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.queues.brokers import Redis

redis_only = pytest.mark.parametrize("broker", ["redis"], indirect=True)


@redis_only
async def test_a_deleted_entry_that_a_dead_reader_held_blocks_nobody(broker: Redis) -> None:
    await broker.put(*lines(3))
    reader = broker.queue()
    held = await read(reader, 3)
    await die(reader)
    async with broker.client() as client:
        await client.xdel(broker.name, held[1].handle)
        other = broker.queue()
        found = await read(other, 3, within=3)
        assert [message.data for message in found] == [lines(3)[0], lines(3)[2]]
        await other.ack(found)
        assert (await client.xpending(broker.name, "senders"))["pending"] == 0


@redis_only
async def test_a_name_leaves_the_group_unless_entries_stand_on_it(broker: Redis) -> None:
    await broker.put(*lines(2))
    clean, holding = broker.queue(return_after=30.0), broker.queue(return_after=30.0)
    await clean.ack(await read(clean, 1))
    assert len(await read(holding, 1)) == 1
    await clean.aclose()
    await holding.aclose()
    async with broker.client() as client:
        names = [one["name"] for one in await client.xinfo_consumers(broker.name, "senders")]
    assert len(names) == 1
    assert len(await drain(broker.queue(), 1)) == 1


@redis_only
async def test_many_left_entries_are_all_taken_over(broker: Redis) -> None:
    await broker.put(*lines(150))
    for _ in range(2):
        reader = broker.queue(return_after=0.5)
        await read(reader, 100)
        await die(reader)
    other = broker.queue(return_after=5.0)
    await asyncio.sleep(0.5)
    assert len({message.id for message in await drain(other, 150)}) == 150


@redis_only
async def test_late_keep_and_requeue_do_not_take_from_the_new_reader(broker: Redis) -> None:
    await broker.put(*lines(1))
    slow, quick = broker.queue(return_after=0.3), broker.queue(return_after=0.3)
    held = await read(slow, 1)
    await asyncio.sleep(0.4)
    taken = await read(quick, 1)
    assert taken[0].deliveries == 2
    await slow.keep(held)
    await slow.requeue(held)
    async with broker.client() as client:
        (entry,) = await client.xpending_range(broker.name, "senders", "-", "+", 10)
    assert entry["times_delivered"] == 2
    assert entry["consumer"].decode() == quick._name  # type: ignore[attr-defined]
    await quick.ack(taken)


async def test_password_and_lost_data(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, aof=False, password="s3cret").start()
    try:
        wrong = f"redis://:wr0ng@127.0.0.1:{server.port}/0?stream=jobs"
        for opened in (open_queue(wrong + "&group=g"), open_publisher(wrong)):
            with pytest.raises(QueueError, match=r"\*\*\*@127") as caught:
                await opened.open()
            assert "wr0ng" not in str(caught.value)
            await opened.aclose()
        queue: Any = open_queue(server.url + "?stream=jobs&group=senders")
        assert list(await queue.read(1)) == []
        server.restart()  # without persistence: stream and group are gone
        sink = open_publisher(server.url + "?stream=jobs")
        await sink.put(b"line", {"code": "x"})
        assert [message.data for message in await read(queue, 1)] == [b"line"]
        await queue.aclose()
        await sink.aclose()
    finally:
        server.stop()


async def test_a_server_that_hangs_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RedisServer(tmp_path).start()
    try:
        queue: Any = open_queue(server.url + "?stream=jobs&group=senders")
        sink = open_publisher(server.url + "?stream=jobs")
        await sink.put(b"line", {"code": "x"})
        held = await read(queue, 1)
        queue._connection._patience = sink._connection._patience = 0.5
        server.pause()
        await queue.ack(held)
        with pytest.raises(QueueError, match=r"no answer in time|Timeout"):
            await sink.put(b"line", {"code": "x"})
        assert not queue.alive
        server.resume()
        queue._connection._patience = 10
        assert list(await queue.read(1)) != held
        async with queue._connection._client as client:
            assert (await client.xpending("jobs", "senders"))["pending"] <= 1
        await queue.aclose()
        await sink.aclose()
    finally:
        server.resume()
        server.stop()


@redis_only
async def test_what_is_requeued_again_and_again_does_not_hide_what_is_new(broker: Redis) -> None:
    """The jobs of a workspace that has halted: they came first at every read, and no other was ever seen."""
    await broker.put(*lines(20))
    reader = broker.queue()
    await reader.requeue(await read(reader, 20))
    await broker.put(b"new")
    seen: list[bytes] = []
    for _ in range(6):
        got = await reader.read(10)
        seen += [message.data for message in got]
        await reader.requeue(got)
        await asyncio.sleep(0.55)
    assert b"new" in seen
    assert len(set(seen)) > 1, "nor does what is new hide what was given back"


@redis_only
async def test_a_requeue_that_is_refused_leaves_nothing_in_hand(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message came again after its time, was taken for one in hand, and nobody ever worked on it."""
    await broker.put(*lines(1))
    reader = broker.queue(return_after=0.3)
    held = await read(reader, 1)

    async def refuse(*_: object) -> None:
        raise QueueError("no right to XCLAIM")

    with monkeypatch.context() as patch:
        patch.setattr(reader, "_requeue", refuse)
        with pytest.raises(QueueError):
            await reader.requeue(held)
    await asyncio.sleep(0.35)
    assert [message.id for message in await read(reader, 1)] == [held[0].id]
