"""What every queue promises, on its real server."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from sender.jobs.job import MOST_LINE
from sender.queues import QueueError, QueueLost
from sender.queues.queue_url import open_publisher, open_queue
from tests.queues.brokers import KINDS, Kafka, Rabbit, Sqs, SqsFifo
from tests.support.messages import die, drain, lines, read, stays_empty
from tests.support.servers import free_port

if TYPE_CHECKING:
    from sender.queues import Queue
    from tests.queues.brokers import Broker

pytestmark = pytest.mark.parametrize("broker", list(KINDS), indirect=True)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_read_and_acknowledge(broker: Broker) -> None:
    queue = broker.queue()
    await queue.open()
    assert queue.alive
    assert list(await queue.read(5)) == []
    await broker.put(*lines(5))
    found = await drain(queue, 5)
    assert sorted(message.data for message in found) == lines(5)
    assert len({message.id for message in found}) == 5
    assert {message.deliveries for message in found} == {1}
    assert "guest" not in found[0].source
    await queue.ack(found)
    await stays_empty(queue)


async def test_order(broker: Broker) -> None:
    await broker.put(*lines(12))
    found = [message.data for message in await drain(broker.queue(), 12)]
    assert (found if broker.ordered else sorted(found, key=lines(12).index)) == lines(12)


async def test_never_more_than_asked_for_or_allowed_in_hand(broker: Broker) -> None:
    groups: Any = {"groups": [str(number) for number in range(9)]} if isinstance(broker, SqsFifo) else {}
    await broker.put(*lines(9), **groups)
    queue = broker.queue(in_hand=4, return_after=30.0)
    first = await read(queue, 3)
    assert len(first) == 3
    assert len(await queue.read(5)) == 1
    assert list(await queue.read(5)) == []
    await queue.ack(first)
    assert len(await queue.read(5)) == 3


async def test_what_a_dead_reader_held_comes_back_counted(broker: Broker) -> None:
    await broker.put(*lines(1))
    for deliveries in (1, 2, 3, 4):
        reader = broker.queue()
        found = await read(reader, 1)
        assert [message.deliveries for message in found] == [deliveries]
        if deliveries < 4:
            await die(reader)
    await reader.ack(found)
    await stays_empty(broker.queue())


async def test_requeue_is_at_once_and_not_counted(broker: Broker) -> None:
    shared = _Remembered()
    more: Any = {"requeue_counts": shared} if isinstance(broker, Sqs) else {}
    await broker.put(*lines(1), headers={"traceparent": TRACE})
    first, second = (broker.queue(return_after=30.0, **more) for _ in range(2))
    ids = set()
    for reader in (first, second, first, first, second):
        await broker.make_way(reader)
        found = await read(reader, 1, within=5)
        assert [message.deliveries for message in found] == [1]
        assert found[0].headers == {"traceparent": TRACE}
        assert found[0].data == lines(1)[0]
        ids.add(found[0].id)
        await reader.requeue(found)
        await reader.ack(found)  # given away: no longer ours to acknowledge
    assert len(ids) == 1
    assert len(await drain(second, 1)) == 1


async def test_a_requeue_with_a_delay(broker: Broker) -> None:
    """Not counted either, and not at once where the broker knows a delay."""
    shared = _Remembered()
    more: Any = {"requeue_counts": shared} if isinstance(broker, Sqs) else {}
    await broker.put(*lines(1))
    first, second = (broker.queue(return_after=10.0, **more) for _ in range(2))
    found = await read(first, 1)
    start = time.monotonic()
    await first.requeue(found, 2.0)
    await broker.make_way(second)
    (again,) = await read(second, 1)
    assert again.deliveries == 1
    if not isinstance(broker, Rabbit | Kafka):
        assert time.monotonic() - start > 1.4
    await second.ack([again])


async def test_deliveries_and_requeues_together(broker: Broker) -> None:
    shared = _Remembered()
    more: Any = {"requeue_counts": shared} if isinstance(broker, Sqs) else {}
    await broker.put(*lines(1))
    for number, (action, deliveries) in enumerate((("die", 1), ("back", 2), ("die", 2), ("back", 3), ("ack", 3))):
        reader = broker.queue(**more)
        found = await read(reader, 1)
        assert [message.deliveries for message in found] == [deliveries], number
        if action == "die":
            await die(reader)
        else:
            await (reader.requeue(found) if action == "back" else reader.ack(found))
            await reader.aclose()


async def test_keep_prevents_redelivery(broker: Broker) -> None:
    await broker.put(*lines(1))
    holder, other = broker.queue(), broker.queue()
    held = await read(holder, 1)
    ends = time.monotonic() + 2.5 * broker.return_after

    async def keep_on() -> None:
        while time.monotonic() < ends + 1:
            await holder.keep(held)
            await asyncio.sleep(broker.return_after / 5)

    keeping = asyncio.create_task(keep_on())
    while time.monotonic() < ends:
        assert list(await other.read(5)) == []
    await holder.ack(held)
    await keeping
    await stays_empty(other)


async def test_readers_share(broker: Broker) -> None:
    groups: Any = {"groups": [str(number) for number in range(60)]} if isinstance(broker, SqsFifo) else {}
    await broker.put(*lines(60), **groups)
    seen: list[bytes] = []

    async def reader() -> None:
        queue = broker.queue(return_after=30.0)
        while len(seen) < 60:
            got = await queue.read(7)
            seen.extend(message.data for message in got)
            await queue.ack(got)

    await asyncio.wait_for(asyncio.gather(*(reader() for _ in range(4))), 30)
    assert set(seen) == set(lines(60))
    if not isinstance(broker, Sqs) or isinstance(broker, SqsFifo):  # a standard queue of SQS delivers at least once
        assert len(seen) == 60


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # how aiobotocore calls aiohttp
async def test_bodies_that_are_no_jobs(broker: Broker) -> None:
    queue = broker.queue(return_after=30.0)
    bodies = [broker.garbage, b"[" * 100_000, b'{"id": "' + b"x" * (broker.big - 10) + b'"}']
    for body in bodies:
        await broker.put(body)
        (found,) = await drain(queue, 1)
        assert found.data == body


async def test_a_read_holds_no_more_bytes_than_it_may_and_one_message(broker: Broker) -> None:
    """Twenty messages of 30 MB ended a process of 512 MB again and again."""
    groups: Any = {"groups": [str(number) for number in range(12)]} if isinstance(broker, SqsFifo) else {}
    bodies = [b'{"id": "%d", "x": "%s"}' % (number, b"x" * 100_000) for number in range(12)]
    await broker.put(*bodies, **groups)
    queue: Any = broker.queue(return_after=30.0)
    queue.read_bytes = 250_000
    seen: set[bytes] = set()
    ends = time.monotonic() + 30
    while len(seen) < 12 and time.monotonic() < ends:
        got = await queue.read(12)
        assert sum(len(message.data) for message in got) <= 350_100
        assert not any(message.unread for message in got)
        seen |= {message.data for message in got}
        await queue.ack(got)
    assert seen == set(bodies)


async def test_a_message_that_is_larger_than_any_job_is_known_by_its_head(broker: Broker) -> None:
    groups: Any = {"groups": ["a", "b", "c"]} if isinstance(broker, SqsFifo) else {}
    if isinstance(broker, Sqs):
        assert broker.big < MOST_LINE, "SQS has no message that large"
    await broker.put(b"1", b"y" * 300_000, b"2", **groups)
    queue: Any = broker.queue(return_after=30.0)
    if not isinstance(broker, Sqs):
        queue._largest = 200_000
    found = {message.data[:1]: message for message in await read(queue, 3)}
    assert (found[b"1"].unread, found[b"2"].unread) == (0, 0)
    if not isinstance(broker, Sqs):
        assert (found[b"y"].unread, found[b"y"].data) == (300_000, b"y" * 1024)
    await queue.requeue([found[b"y"]])
    (again,) = await read(queue, 1)
    assert again.unread == found[b"y"].unread, "given back as it was"
    await queue.ack([again, found[b"1"], found[b"2"]])
    await queue.aclose()
    await stays_empty(broker.queue())


async def test_what_is_in_hand_counts_as_lag(broker: Broker) -> None:
    """497 messages were pending, and the lag said 0: nobody was told that more replicas were needed."""
    groups: Any = {"groups": [str(number) for number in range(5)]} if isinstance(broker, SqsFifo) else {}
    await broker.put(*lines(5), **groups)
    queue = broker.queue(return_after=30.0)
    held = await read(queue, 3)
    assert len(held) == 3
    assert await _settled(queue, 5) == 5
    await queue.ack(held)
    assert await _settled(queue, 2) == 2


async def test_priority_and_headers(broker: Broker) -> None:
    await broker.put(*lines(1), headers={"traceparent": TRACE, "secret": "x"})
    queue = open_queue(broker.url(more="&priority=low"))
    (found,) = await drain(queue, 1)
    assert (found.priority, found.headers) == ("low", {"traceparent": TRACE})
    await queue.aclose()


async def test_lag(broker: Broker) -> None:
    queue = broker.queue(return_after=30.0)
    assert await queue.lag() == 0
    await broker.put(*lines(7))
    assert await _settled(queue, 7) == 7
    await drain(queue, 3)
    assert await _settled(queue, 4) == 4


async def _settled(queue: Queue, expected: int) -> int | None:
    """Brokers count now and then."""
    for _ in range(60):
        if (lag := await queue.lag()) == expected:
            break
        await asyncio.sleep(0.1)
    return lag


async def test_restart_of_the_broker(broker: Broker) -> None:
    await broker.put(*lines(6))
    queue = broker.queue()
    done = await drain(queue, 2)
    held = await read(queue, 1)
    await broker.restart()
    await queue.ack(held)
    rest = await drain(queue, 10, within=4)  # what was held may come once more
    assert {message.data for message in (*done, *held, *rest)} == set(lines(6))
    assert {message.id for message in done}.isdisjoint(message.id for message in rest)
    assert len(rest) <= 4
    assert list(await queue.read(1)) == []
    assert queue.alive


async def test_lost_connection(broker: Broker) -> None:
    await broker.put(*lines(3))
    queue = broker.queue()
    held = await read(queue, 1)
    await broker.proxy.cut()
    await queue.ack(held)
    await queue.keep(held)
    with pytest.raises(QueueLost) as caught:
        await queue.read(1)
    assert "guest" not in str(caught.value)
    assert not queue.alive
    await broker.proxy.mend()
    found = await drain(queue, 3, within=2)
    again = [message for message in found if message.id == held[0].id]
    assert {message.data for message in (*held, *found)} == set(lines(3))
    assert bool(again) == broker.returns_with_connection
    await stays_empty(queue)


async def test_a_cancelled_read_loses_nothing(broker: Broker) -> None:
    queue = broker.queue(return_after=30.0)
    await queue.open()
    waiting = asyncio.create_task(queue.read(5))  # type: ignore[arg-type, var-annotated]
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.wait([waiting])
    await broker.put(*lines(1))
    (found,) = await read(queue, 1, within=5)
    assert (found.data, found.deliveries) == (lines(1)[0], 1)


async def test_a_cancelled_read_is_requeued_at_the_end(broker: Broker) -> None:
    queue = broker.queue(return_after=30.0)
    await queue.open()
    waiting = asyncio.create_task(queue.read(5))  # type: ignore[arg-type, var-annotated]
    await asyncio.sleep(0.2)
    waiting.cancel()
    await broker.put(*lines(1))
    await queue.aclose()
    (found,) = await read(broker.queue(), 1, within=5)
    assert found.data == lines(1)[0]


async def test_dead_letter_keeps_line_and_reason(broker: Broker) -> None:
    sink = broker.sink()
    await sink.open()
    reason = {"code": "rejected", "message": "no “such” template\nat all", "deliveries": 5}
    await sink.put(b'{"id": "poison"}', reason)
    await sink.append([b'{"status": "sent"}', b'{"status": "failed"}'])
    assert await broker.letters() == [
        (b'{"id": "poison"}', reason), (b'{"status": "sent"}', None), (b'{"status": "failed"}', None)
    ]


async def test_dead_letter_survives_a_restart_and_a_cut_line(broker: Broker) -> None:
    sink = broker.sink()
    await sink.put(b"first", {"code": "one"})
    await broker.restart()
    await broker.proxy.cut()
    with pytest.raises(QueueLost):
        await sink.put(b"second", {"code": "two"})
    await broker.proxy.mend()
    await sink.put(b"second", {"code": "two"})
    assert [body for body, _ in await broker.letters()] == [b"first", b"second"]


async def test_no_error_tells_a_password(broker: Broker) -> None:
    port = free_port()
    more = {} if isinstance(broker, Sqs | Kafka) else {"credentials": "someone:s3cret%21@"}
    url = broker.url(port=port, **more)
    for opened in (open_queue(url), open_publisher(_sink_of(url))):
        with pytest.raises(QueueError) as caught:
            await opened.open()
        told = f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__context__ is None}"
        assert "s3cret" not in told
        assert "someone" not in told
        await opened.aclose()


def _sink_of(url: str) -> str:
    return re.sub(r"[?&](group|consumer)=[^&]*$", "", url)


class _Remembered:
    """Give-backs that two readers share, as a state store would."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    async def add(self, ids: Any) -> None:
        self.counts.update({one: self.counts.get(one, 0) + 1 for one in ids})

    async def find(self, ids: Any) -> dict[str, int]:
        return {one: self.counts[one] for one in ids if one in self.counts}

    async def forget(self, ids: Any) -> None:
        for one in ids:
            self.counts.pop(one, None)
