"""A WireConnection carries one request after another over an open connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

from sender.transport.wire.answer_reader import AnswerFault, AnswerReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.transport import Reply

PIECE: Final = 1 << 16
"""Bytes of a body that are written in one go with its head; a larger one follows as the socket takes it."""
NO_LINGER: Final = struct.pack("ii", 1, 0)


class WireConnection(asyncio.Protocol):
    """Takes over a transport; `on_free` is told when another request may follow, `on_lost` when none ever may."""

    def __init__(
        self, transport: asyncio.Transport, on_free: Callable[[WireConnection], None],
        on_lost: Callable[[WireConnection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._on_free = on_free
        self._on_lost = on_lost
        self._on_end: Callable[[Reply | AnswerFault], None] | None = None
        self._reader = AnswerReader()
        self._rest: memoryview | None = None
        """What of a large body is not written yet."""
        self._paused = False
        self.written_at = 0.0
        """Loop time just after the last request's first write."""
        self.idle_since = self._loop.time()
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether it was open when last heard of."""
        return not self._transport.is_closing()

    def request(self, head: bytes, body: bytes, most: int, on_end: Callable[[Reply | AnswerFault], None]) -> None:
        """Write a request; `on_end` is called once, with the answer, whose body has at most `most` bytes."""
        self._reader.expect(most)
        self._on_end = on_end
        if len(body) <= PIECE:
            self._transport.write(head + body)
        else:
            self._transport.write(head + body[:PIECE])
            self._rest = memoryview(body)[PIECE:]
            self._loop.call_soon(self._write_rest)
        self.written_at = self._loop.time()

    def give_up(self, on_end: Callable[[Reply | AnswerFault], None]) -> None:
        """Wait for this answer no longer; does nothing when it has come."""
        if self._on_end == on_end:
            self._on_end = None
            self.reset()

    def reset(self) -> None:
        """Drop what the kernel has not sent yet.

        Where a line comes back after all, the bytes of requests that were given up would arrive, and be counted, all at
        once.
        """
        self._rest = None
        sock = self._transport.get_extra_info("socket")
        if sock is not None:  # else it is lost already
            with contextlib.suppress(OSError, ValueError):  # uvloop says by a ValueError that it is closed
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._transport.abort()

    def close(self) -> None:
        """Close it, once what is written has left."""
        self._rest = None
        self._transport.close()

    # What the loop calls.

    def data_received(self, data: bytes) -> None:
        """A piece of the answer, or something that nobody asked for."""
        on_end = self._on_end
        if on_end is None:
            self.close()
            return
        try:
            if not self._reader.feed(data):
                return
            ended = self._reader.reply(self.written_at, self._loop.time())
        except AnswerFault as fault:
            self._on_end = None
            self.reset()
            on_end(fault)
            return
        self._on_end = None
        self._make_free(ended.answered_at)
        on_end(ended)

    def connection_lost(self, exc: Exception | None) -> None:
        """No more comes: that ends an answer whose length nobody told, and cuts any other."""
        on_end, self._on_end, self._rest = self._on_end, None, None
        self._on_lost(self)
        if on_end is None:
            return
        try:
            self._reader.end(clean=exc is None)
            on_end(self._reader.reply(self.written_at, self._loop.time()))
        except AnswerFault as fault:
            on_end(fault)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """It takes more."""
        self._paused = False
        self._write_rest()

    def _write_rest(self) -> None:
        """No faster than the socket takes it."""
        while self._rest is not None and not self._paused and not self._transport.is_closing():
            piece, rest = self._rest[:PIECE], self._rest[PIECE:]
            self._rest = rest or None
            self._transport.write(piece)

    def _make_free(self, now: float) -> None:
        self.idle_since = now
        if self._reader.reusable and self._rest is None and not self._transport.is_closing():
            self._on_free(self)
        else:  # the rest of a body that was answered early would be taken for the next request
            self.close()
