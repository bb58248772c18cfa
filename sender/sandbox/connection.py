"""One client's connection: reads stamped bytes, has requests answered in turn, writes what becomes of them."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from sender.sandbox.exchange import Answer, Request, head_bytes, proxy_page
from sender.sandbox.parser import Parser, Refused
from sender.sandbox.spoil import GARBAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.sandbox.app import Reaction
    from sender.sandbox.faults import Fault
    from sender.sandbox.server import Server

SO_TIMESTAMPNS: Final = 35
"""From Linux's asm-generic/socket.h; Python has no name for it."""
_TIMESPEC: Final = struct.Struct("qq")
_ANCILLARY: Final = 64
_READ_HEAD: Final = 16 * 1024
"""Small, so that a request's first bytes are stamped apart from the rest of a large body."""
_READ_BODY: Final = 256 * 1024
_PIPELINE: Final = 1024 * 1024
"""How much may wait behind a request in hand before reading stops."""
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


class Connection:
    """A non-blocking socket on the loop's readers and writers."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._coming: Request | None = None
        """Its head has come, its body not yet."""
        self._busy = False
        self._out = bytearray()
        self._after_flush: Callable[[], None] | None = None
        self._reading = True
        self._ended = False
        self._hung = False
        self._discarding = False
        self.closed = False
        self.last_seen = self._loop.time()
        self._loop.add_reader(sock, self._readable)

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand; a half-sent request is not."""
        return not self._busy and not self._out

    def _readable(self) -> None:
        try:
            size = _READ_BODY if self._coming or self._discarding else _READ_HEAD
            data, ancillary, _, _ = self._sock.recvmsg(size, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self._end()
            return
        if self._discarding:
            return
        self.last_seen = self._loop.time()
        stamp = _kernel_stamp(ancillary)
        if stamp is None:
            stamp = time.time_ns()
            self._server.app.loop_stamps += 1
        self._parser.feed(data, stamp)
        self._advance()

    def _end(self) -> None:
        """The client sends no more; what is in hand is still answered, unless no answer will come."""
        self._ended = True
        self._stop_reading()
        if self.idle or self._discarding or self._hung:
            self.close()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock)

    def _advance(self) -> None:
        try:
            while not (self._busy or self.closed or self._discarding):
                if not self._next_request():
                    return
        except Refused as refused:
            self._refuse(refused)
            return
        if self._busy and self._reading and len(self._parser) > _PIPELINE:
            self._stop_reading()

    def _next_request(self) -> bool:
        if self._coming is None:
            request = self._parser.head()
            if request is None:
                return False
            fault = self._server.head_arrived(request)
            if fault is not None:
                self._strike(fault)
                return False
            self._coming = request
            if request.headers.get("expect", "").lower() == "100-continue" and request.length and not len(self._parser):
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = self._coming
        if not self._parser.body(request):
            return False
        self._coming = None
        self._busy = True
        self._server.arrived(self, request)
        return True

    def _strike(self, fault: Fault) -> None:
        """Before anything was accepted: at once, or when some of the body may have come."""
        self._busy = True
        if fault.fault == "half_read":
            self._loop.call_later(0.02, self.reset)
        else:
            self.reset()

    def _refuse(self, refused: Refused) -> None:
        answer = proxy_page(refused.status)
        answer.body = f"{refused.text}\n".encode()
        answer.content_type = "text/plain; charset=utf-8"
        self._discarding = True
        self.write(head_bytes(answer, len(answer.body), close=True) + answer.body, self._linger)

    def _linger(self) -> None:
        """Close without a reset that would eat the answer: the rest of what is being sent is read away first."""
        self._discarding = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._loop.call_later(_LINGER, self.close)

    def respond(self, request: Request, reaction: Reaction) -> None:
        """Put the answer on the wire, or what the fault leaves of it."""
        if self.closed:
            return
        answer, fault = reaction.answer, reaction.fault
        close = not request.keep_alive
        done = self._linger if close else self._answered
        body = b"" if request.method == "HEAD" else answer.body
        name = fault.fault if fault else ""
        if fault and name in _WIRE:
            _WIRE[name](self, answer, body, fault, done)
            return
        self.write(head_bytes(answer, len(answer.body), close=close) + body, done)

    def hang(self, *_: object) -> None:
        """Never answer; the client's end of sending ends the connection."""
        self._hung = True
        if self._ended:
            self.close()

    def _cut(self, answer: Answer, body: bytes, _fault: Fault, _done: Callable[[], None]) -> None:
        half = body[: len(body) // 2]
        self.write(head_bytes(answer, len(answer.body), close=False) + half, self._linger)

    def _garbage(self, *_: object) -> None:
        self.write(GARBAGE, self._linger)

    def _chunked(self, answer: Answer, body: bytes, _fault: Fault, done: Callable[[], None]) -> None:
        third = len(body) // 3 + 1
        pieces = [body[at : at + third] for at in range(0, len(body), third)]
        coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        self.write(head_bytes(answer, None, close=False) + (coded if body else b""), done)

    def _drip(self, answer: Answer, body: bytes, fault: Fault, done: Callable[[], None]) -> None:
        """The head at once, the body in pieces spread over the fault's seconds."""
        self.write(head_bytes(answer, len(answer.body), close=False))
        count = min(10, len(body)) or 1
        size = -(-len(body) // count) or 1
        for number in range(count):
            piece = body[number * size : (number + 1) * size]
            last = done if number == count - 1 else None
            self._loop.call_later(fault.seconds * (number + 1) / count, self.write, piece, last)

    def _answered(self) -> None:
        self._busy = False
        self.last_seen = self._loop.time()
        if not self._reading and not self._ended:
            self._reading = True
            self._loop.add_reader(self._sock, self._readable)
        self._advance()
        if self._ended and not self._busy:
            self.close()

    def write(self, data: bytes, done: Callable[[], None] | None = None) -> None:
        """Send now what the socket takes and the rest when it can; then `done`."""
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
            self._flushed()

    def _writable(self) -> None:
        try:
            del self._out[: self._sock.send(memoryview(self._out)[:_READ_BODY])]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not self._out:
            self._loop.remove_writer(self._sock)
            self._flushed()

    def _flushed(self) -> None:
        done, self._after_flush = self._after_flush, None
        if done is not None:
            done()

    def drop(self) -> None:
        """Reset what is in hand, close what is idle, as when a host goes away."""
        if self.idle:
            self.close()
        else:
            self.reset()

    def reset(self, *_: object) -> None:
        """End with a TCP reset."""
        if not self.closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def close(self, *_: object) -> None:
        """End the connection; a request that had not come whole is noted."""
        if self.closed:
            return
        self.closed = True
        self._stop_reading()
        self._loop.remove_writer(self._sock)
        self._sock.close()
        if self._coming is not None:
            self._server.app.broken_off(self._coming)
        self._server.forget(self)


_WIRE: Final[dict[str, Callable[..., None]]] = {
    "reset_after": Connection.reset,
    "close_after": Connection.close,
    "hang": Connection.hang,
    "cut_body": Connection._cut,  # noqa: SLF001
    "garbage": Connection._garbage,  # noqa: SLF001
    "chunked": Connection._chunked,  # noqa: SLF001
    "slow_body": Connection._drip,  # noqa: SLF001
}
"""The faults that happen on the wire."""
