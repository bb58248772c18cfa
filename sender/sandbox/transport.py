"""A client's socket on the event loop: reads bytes with the kernel's stamp of their arrival, writes, ends as told."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SO_TIMESTAMPNS: Final = 35
"""From Linux's asm-generic/socket.h; Python has no name for it."""
READ_HEAD: Final = 16 * 1024
"""Small, so that a request's first bytes are stamped apart from the rest of a large body."""
READ_BODY: Final = 256 * 1024

_TIMESPEC: Final = struct.Struct("qq")
_ANCILLARY: Final = 64
_LINGER: Final = 1.0


def ask_for_stamps(listener: socket.socket) -> bool:
    """Have the kernel stamp what arrives; accepted sockets inherit it."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:  # the layout below is the 64-bit one
        return False
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def _kernel_stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None


class StreamProtocol(Protocol):
    """What is told of the bytes and of the end of a transport."""

    def data_received(self, data: bytes, stamp: int | None) -> None:
        """Bytes, and when they arrived in nanoseconds since the epoch, None where the kernel does not say."""

    def eof_received(self) -> None:
        """The client sends no more."""

    def connection_lost(self) -> None:
        """The socket is closed; nothing follows."""


class StampedTransport:
    """A non-blocking socket on the loop's readers and writers."""

    def __init__(self, sock: socket.socket, protocol: StreamProtocol) -> None:
        self._sock = sock
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._after_flush: Callable[[], None] | None = None
        self._abandoned = False
        self.read_size = READ_HEAD
        self.reading = False
        self.ended = False
        """The client has sent all that it will send."""
        self.closed = False
        self.resume_reading()

    @property
    def flushed(self) -> bool:
        """Whether the kernel has taken all that was written."""
        return not self._out

    def resume_reading(self) -> None:
        """Read what comes, until the client's end."""
        if not (self.reading or self.ended or self.closed):
            self.reading = True
            self._loop.add_reader(self._sock, self._readable)

    def pause_reading(self) -> None:
        """Leave what comes in the kernel's buffer."""
        if self.reading:
            self.reading = False
            self._loop.remove_reader(self._sock)

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(self.read_size, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self._end()
        elif not self._abandoned:
            self._protocol.data_received(data, _kernel_stamp(ancillary))

    def _end(self) -> None:
        self.ended = True
        self.pause_reading()
        if self._abandoned:
            self.close()
        else:
            self._protocol.eof_received()

    def write(self, data: bytes, done: Callable[[], None] | None = None) -> None:
        """Send now what the kernel takes and the rest when it can; then call `done`."""
        if self.closed:
            return
        self._after_flush = done or self._after_flush
        if not self._out:
            try:
                data = data[self._sock.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.close()
                return
            if data:
                self._loop.add_writer(self._sock, self._writable)
        self._out += data
        if not self._out:
            self._call_done()

    def _writable(self) -> None:
        try:
            del self._out[: self._sock.send(memoryview(self._out)[:READ_BODY])]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not self._out:
            self._loop.remove_writer(self._sock)
            self._call_done()

    def _call_done(self) -> None:
        done, self._after_flush = self._after_flush, None
        if done is not None:
            done()

    def abandon(self) -> None:
        """Throw away what still comes; the client's end closes the socket."""
        self._abandoned = True
        self.resume_reading()
        if self.ended:
            self.close()

    def linger(self) -> None:
        """Close without a reset that would destroy the answer: what is still being sent is read away first."""
        if self.closed:
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._loop.call_later(_LINGER, self.close)
        self.abandon()

    def reset(self) -> None:
        """End with a TCP reset."""
        if not self.closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def close(self) -> None:
        """End the connection."""
        if self.closed:
            return
        self.closed = True
        self.pause_reading()
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._protocol.connection_lost()
