"""What RabbitMQ pushes over a channel (basic.consume): as many messages as are wanted now, in bounded memory.

Each `take` is a consumer of its own that ends with it, so that nothing lies in a buffer where no other replica can have
it. RabbitMQ bounds what it pushes by number alone. A message's size stands before its body: a body for which there is
no room is dropped as it arrives, all but its head.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aio_pika import IncomingMessage
from aiormq.abc import DeliveredMessage
from pamqp.body import ContentBody

if TYPE_CHECKING:
    from pamqp.header import ContentHeader

QUIET: Final = 0.01
"""Seconds without a further message after which those that have come are enough."""
FIRST_WINDOW: Final = 4
MOST_AT_ONCE: Final = 200


class PushedMessage(NamedTuple):
    """One message, to be acknowledged or refused on its channel."""

    message: IncomingMessage
    size: int
    """Bytes of its body, of which the message has only the beginning when it is dropped."""
    dropped: bool


class PushedMessages:
    """Those of one queue on one channel, which nobody else consumes on."""

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        self._arrived: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        self._window = FIRST_WINDOW
        self._asked_for = 0
        self._room = 0
        self._largest = 0
        self._head = 0

    async def take(self, most: int, wait: float, *, room: int, largest: int, head: int) -> list[PushedMessage]:
        """Up to `most` messages, waiting `wait` seconds for the first one.

        Bodies have `room` bytes together, and one message more; of what is beyond that, or larger than `largest`, the
        first `head` bytes are kept.
        """
        self._room, self._largest, self._head = room, largest, head
        # The library reads every body to its end into memory before it tells anybody.
        self._channel._read_content = self._read_content  # noqa: SLF001
        window = min(most, self._window)
        if window != self._asked_for:
            await self._channel.basic_qos(prefetch_count=window)
            self._asked_for = window
        consumer = await self._channel.basic_consume(self._queue, self._arrived.put)
        got = await self._gather(window, wait)
        await self._channel.basic_cancel(consumer.consumer_tag)
        await asyncio.sleep(0)
        while not self._arrived.empty():
            got.append(self._arrived.get_nowait())
        found = [_pushed(one) for one in got]
        if found:
            self._resize(max(one.size for one in found), room)
        return found

    async def _gather(self, window: int, wait: float) -> list[DeliveredMessage]:
        got: list[DeliveredMessage] = []
        while len(got) < window:
            try:
                async with asyncio.timeout(QUIET if got else wait):
                    got.append(await self._arrived.get())
            except TimeoutError:
                break
        return got

    def _resize(self, size: int, room: int) -> None:
        """Ask for no more than have room, to judge by the largest of the last ones; and for more step by step."""
        self._window = min(max(1, room // max(1, size)), self._window * 2, MOST_AT_ONCE)

    async def _read_content(self, frame: Any, header: ContentHeader) -> DeliveredMessage:
        """In the library's place: the body's frames one after another, kept or dropped."""
        kept, missing = bytearray(), header.body_size
        most = header.body_size if self._has_room(header.body_size) else self._head
        while missing > 0:
            content = await self._channel._get_frame()  # noqa: SLF001
            if not isinstance(content, ContentBody):
                raise TypeError(f"a body was expected, and not {type(content).__name__}")
            missing -= len(content.value)
            kept += content.value[: max(0, most - len(kept))]
        return DeliveredMessage(delivery=frame, header=header, body=bytes(kept), channel=self._channel)

    def _has_room(self, size: int) -> bool:
        if size > self._largest or self._room <= 0:
            return False
        self._room -= size
        return True


def _pushed(message: DeliveredMessage) -> PushedMessage:
    size = message.header.body_size
    return PushedMessage(IncomingMessage(message), size, size > len(message.body))
