"""What the tests of queues do with them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from sender.queues import QueueLost

if TYPE_CHECKING:
    from sender.queues import Message, Queue


def lines(count: int) -> list[bytes]:
    return [b'{"id": "job-%d"}' % number for number in range(count)]


async def read(queue: Queue, count: int, *, within: float = 15.0) -> list[Message]:
    """Read on until there are so many; fewer when nothing more comes."""
    found: list[Message] = []
    ends = time.monotonic() + within
    while len(found) < count and time.monotonic() < ends:
        try:
            found += await queue.read(count - len(found))
        except QueueLost:
            await asyncio.sleep(0.05)
    return found


async def drain(queue: Queue, count: int, *, within: float = 5.0) -> list[Message]:
    """Read and acknowledge one after the other: also a FIFO group goes on then."""
    found: list[Message] = []
    while len(found) < count and (got := await read(queue, 1, within=within)):
        found += got
        await queue.ack(got)
    return found


async def stays_empty(queue: Any) -> None:
    ends = time.monotonic() + min(queue.return_after, 1.0) + 0.4
    while time.monotonic() < ends:
        assert list(await queue.read(10)) == []


async def die(queue: Any) -> None:
    """The process is gone: its connections break, and nothing is said to the broker."""
    await queue._connection.aclose()
