"""HTTP on one client's connection: requests are handed on one at a time, in order, and answered before the next."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

from sender.sandbox.exchange import Request, head_bytes, proxy_page
from sender.sandbox.request_parser import Parser, Refused
from sender.sandbox.transport import READ_BODY, READ_HEAD, StampedTransport
from sender.sandbox.wire_faults import WIRE_FAULTS, Outgoing

if TYPE_CHECKING:
    import socket

    from sender.sandbox.app import Reaction
    from sender.sandbox.faults import Fault

_PIPELINE: Final = 1024 * 1024
"""How many bytes may wait behind a request in hand before reading stops."""
_HALF_READ: Final = 0.02
"""Seconds in which some of a body may come before `half_read` resets."""


class Receiver(Protocol):
    """Takes what arrives on the connections."""

    def unstamped(self) -> None:
        """Bytes came without a stamp of the kernel; the loop's time of reading them stands in."""

    def head_arrived(self, request: Request) -> Fault | None:
        """The head of a request is there; gives a fault that strikes before the rest is read."""

    def arrived(self, connection: Connection, request: Request) -> None:
        """A whole request is there, to be answered by `connection.respond`."""

    def broken_off(self, request: Request) -> None:
        """A request whose body will never come to its end."""

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""


class Connection:
    """One client's connection, from its first byte to its end."""

    def __init__(self, sock: socket.socket, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._coming: Request | None = None
        """Its head has come, its body not yet."""
        self._busy = False
        self._refused = False
        self.last_seen = self._loop.time()
        self._transport = StampedTransport(sock, self)

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand; a half-sent request is not."""
        return not self._busy and self._transport.flushed

    def data_received(self, data: bytes, stamp: int | None) -> None:
        """Take bytes of the client, and hand on the request that they may complete."""
        self.last_seen = self._loop.time()
        if stamp is None:
            stamp = time.time_ns()
            self._receiver.unstamped()
        self._parser.feed(data, stamp)
        self._advance()

    def eof_received(self) -> None:
        """The client sends no more; what is in hand is still answered."""
        if self.idle:
            self._transport.close()

    def connection_lost(self) -> None:
        """Note a request that had not come whole."""
        if self._coming is not None:
            self._receiver.broken_off(self._coming)
        self._receiver.forget(self)

    def _advance(self) -> None:
        try:
            while not (self._busy or self._refused or self._transport.closed) and self._next_request():
                pass
        except Refused as refused:
            self._refuse(refused)
            return
        if self._busy and len(self._parser) > _PIPELINE:
            self._transport.pause_reading()

    def _next_request(self) -> bool:
        request = self._coming or self._next_head()
        if request is None or not self._parser.body(request):
            return False
        self._coming = None
        self._transport.read_size = READ_HEAD
        self._busy = True
        self._receiver.arrived(self, request)
        return True

    def _next_head(self) -> Request | None:
        request = self._parser.head()
        if request is None:
            return None
        fault = self._receiver.head_arrived(request)
        if fault is not None:
            self._strike(fault)
            return None
        self._coming = request
        self._transport.read_size = READ_BODY
        if not request.complete and request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    def _strike(self, fault: Fault) -> None:
        """Before anything was accepted: at once, or when some of the body may have come."""
        self._busy = True
        if fault.fault == "half_read":
            self._loop.call_later(_HALF_READ, self._transport.reset)
        else:
            self._transport.reset()

    def _refuse(self, refused: Refused) -> None:
        self._refused = True
        answer = proxy_page(refused.status)
        answer.body = f"{refused.text}\n".encode()
        answer.content_type = "text/plain; charset=utf-8"
        self._transport.write(head_bytes(answer, len(answer.body), close=True) + answer.body, self._transport.linger)

    def respond(self, request: Request, reaction: Reaction) -> None:
        """Put the answer on the wire, or what the fault leaves of it."""
        if self._transport.closed:
            return
        answer, fault = reaction.answer, reaction.fault
        body = b"" if request.method == "HEAD" else answer.body
        done = self._answered if request.keep_alive else self._transport.linger
        spoil = WIRE_FAULTS.get(fault.fault) if fault else None
        if spoil is not None and fault is not None:
            spoil(self._transport, Outgoing(answer, body, fault, reaction.date, done))
        else:
            head = head_bytes(answer, len(answer.body), close=not request.keep_alive, date=reaction.date)
            self._transport.write(head + body, done)

    def _answered(self) -> None:
        self._busy = False
        self.last_seen = self._loop.time()
        self._transport.resume_reading()
        self._advance()
        if self._transport.ended and not self._busy:
            self._transport.close()

    def drop(self) -> None:
        """Reset what is in hand, close what is idle, as when a host goes away."""
        if self.idle:
            self._transport.close()
        else:
            self._transport.reset()

    def close(self) -> None:
        """End the connection at once."""
        self._transport.close()
