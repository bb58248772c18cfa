"""A small HTTP/1.1 server that knows when the first bytes of each request were received.

The kernel stamps them (SO_TIMESTAMPNS) where it can, so a busy server does not charge its own lateness to the client.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@qq")
MOST_HEAD: Final = 1 << 16
MOST_BODY: Final = 30 << 20
CHUNK: Final = 1 << 16
RESET: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Request:
    """One request, whole."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    arrived: float
    """Unix seconds at which its first bytes were received."""


@dataclass(slots=True)
class Response:
    """An answer, or what stands for one."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds between arrival and answer."""
    wire: str = "whole"
    """whole, cut (half of the body, then closed), reset, hang, garbage."""

    def encode(self) -> bytes:
        """The bytes on the wire."""
        phrase = HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else "Status"
        lines = [f"HTTP/1.1 {self.status} {phrase}", f"Content-Length: {len(self.body)}"]
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


class Server:
    """Listens, and passes each whole request to the handler."""

    def __init__(
        self,
        handler: Callable[[Request, Callable[[Response], None]], None],
        *,
        on_head: Callable[[str, str], str] | None = None,
        keep_alive: float = 75.0,
    ) -> None:
        self._handler = handler
        self._on_head = on_head or (lambda method, path: "")  # noqa: ARG005
        self._keep_alive = keep_alive
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self.kernel_stamps = False
        self.port = 0

    def open(self, host: str, port: int) -> None:
        """Bind and listen; OSError when the place is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # set here, accepted sockets inherit it before their first byte
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.kernel_stamps = True
        try:
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        listener.listen(1024)
        listener.setblocking(False)
        self._listener = listener
        self.port = listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def close_listener(self) -> None:
        """Refuse new connections and drop the open ones."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in tuple(self._connections):
            connection.close()

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, OSError):
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(Connection(client, self._handler, self._on_head, self._connections, self._keep_alive))


class Connection:
    """One client's connection; one request at a time."""

    def __init__(
        self,
        client: socket.socket,
        handler: Callable[[Request, Callable[[Response], None]], None],
        on_head: Callable[[str, str], str],
        others: set[Connection],
        keep_alive: float,
    ) -> None:
        self._socket = client
        self._handler = handler
        self._on_head = on_head
        self._others = others
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._arrived: float | None = None
        self._head_seen = False
        self._busy = False
        self._closed = False
        self._out = bytearray()
        self._idle = self._loop.call_later(keep_alive, self.close)
        self._loop.add_reader(client, self._readable)

    def close(self, *, reset: bool = False) -> None:
        """Close, or reset so that the client notices at once."""
        if self._closed:
            return
        self._closed = True
        self._idle.cancel()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        with suppress(OSError):
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()
        self._others.discard(self)

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(CHUNK, 64)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        if self._arrived is None:
            self._arrived = _stamp(ancillary)
        self._received += data
        if not self._busy:
            self._parse()

    def _parse(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > MOST_HEAD:
                self.close()
            return
        head = bytes(self._received[:end]).decode("latin-1").split("\r\n")
        try:
            method, target, _ = head[0].split(" ")
        except ValueError:
            self.close()
            return
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if not self._head_seen:
            self._head_seen = True
            if headers.get("expect", "").lower() == "100-continue":
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._on_head(method, target.partition("?")[0]) == "reset":
                self.close(reset=True)
                return
        body = self._body(headers, end + 4)
        if body is None:
            return
        path, _, query = target.partition("?")
        request = Request(method, path, query, headers, body, self._arrived or time.time())
        self._busy = True
        self._arrived = time.time() if self._received else None
        self._head_seen = False
        self._idle.cancel()
        self._handler(request, self._answer)

    def _body(self, headers: dict[str, str], start: int) -> bytes | None:
        """The request's body, taken out of what was received; None while it is not complete."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked(start)
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= MOST_BODY:
            self.close()
            return None
        if len(self._received) < start + length:
            return None
        body = bytes(self._received[start : start + length])
        del self._received[: start + length]
        return body

    def _chunked(self, start: int) -> bytes | None:
        body = bytearray()
        while True:
            line_end = self._received.find(b"\r\n", start)
            if line_end < 0:
                return None
            try:
                size = int(bytes(self._received[start:line_end]).partition(b";")[0], 16)
            except ValueError:
                self.close()
                return None
            start = line_end + 2
            if len(self._received) < start + size + 2:
                return None
            body += self._received[start : start + size]
            start += size + 2
            if size == 0:
                del self._received[:start]
                return bytes(body)

    def _answer(self, response: Response) -> None:
        if self._closed:
            return
        if response.wire == "hang":
            return
        if response.wire == "reset":
            self.close(reset=True)
            return
        data = response.encode()
        if response.wire == "garbage":
            data = b"\x00\x01 this is not HTTP\r\n\r\n"
        elif response.wire == "cut":
            data = data[: len(data) - max(1, len(response.body) // 2)]
        self._send(data)
        if response.wire in ("cut", "garbage"):
            self.close()
            return
        self._busy = False
        self._idle = self._loop.call_later(self._keep_alive, self.close)
        if self._received:
            self._parse()

    def _send(self, data: bytes) -> None:
        if not self._out:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self.close()
                return
            data = data[sent:]
        if data:
            self._out += data
            self._loop.add_writer(self._socket, self._flush)

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._socket)


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()
