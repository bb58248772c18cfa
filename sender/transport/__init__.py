"""The seam to the wire: `send(request) -> Reply`, with the instants that the pacer needs.

Whatever goes wrong below becomes a `TransportFault` that says how far the request got; nothing else is raised but
cancellation. The instants are those of the running loop's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

WITHHELD: Final = "withheld"

Reach = Literal["unwritten", "written"]
"""How far a failed request got: `unwritten` = surely no byte of it left, `written` = some may have."""


class Request(NamedTuple):
    """One HTTP request to the API."""

    method: str
    path: str
    """Absolute path, already percent-encoded, with the query if any."""
    body: bytes | None = None
    most_answer: int | None = None
    """Bytes that its answer may have, where that is not the transport's own limit."""


class Reply(NamedTuple):
    """A complete, readable answer."""

    status: int
    content_type: str
    """Lower case, without parameters; empty when the server named none."""
    body: bytes
    retry_after: str | None = None
    written_at: float = 0.0
    """Loop time just after the request's head was handed to the socket: no later than the server received it."""
    answered_at: float = 0.0
    date: str | None = None
    """When the server answered, by its own clock (RFC 9110 6.6.1)."""


class TransportFault(Exception):  # noqa: N818 - it is a value that travels as an exception, judged like a status
    """No readable answer came."""

    def __init__(self, code: str, reach: Reach, message: str) -> None:
        super().__init__(message)
        self.code = code
        """connect_failed, tls_failed, dns_failed, pool_timeout, timeout, connection_reset, answer_cut,
        answer_unreadable, answer_too_large; `WITHHELD` when `Wire.may_write` said no."""
        self.reach = reach
        self.message = message


@dataclass(slots=True)
class Wire:
    """Told by the transport, read by the pacer: whether and when this request was written."""

    on_written: Callable[[], None] | None = None
    may_write: Callable[[], bool] | None = None
    """Asked on the open connection, right before the first byte; False: nothing is written, the fault is `WITHHELD`."""
    written_at: float | None = None


OnEnd = Callable[[Reply | BaseException], None]
"""Told what came of a request: its answer, a `TransportFault`, or what broke in this program."""


class UnderWay(Protocol):
    """A request whose answer is waited for."""

    def give_up(self) -> None:
        """Wait no longer: nothing is told of it any more."""


class Transport(Protocol):
    """Pooled connections to one API."""

    def start(self, request: Request, wire: Wire, on_end: OnEnd) -> UnderWay:
        """The same as `send` without a task; `on_end` is called once, in a later turn of the loop."""

    async def send(self, request: Request, wire: Wire | None = None) -> Reply:
        """One attempt, answer read to its end; raises TransportFault.

        `wire.on_written` is called once, synchronously, as soon as the first write to the socket has returned, and
        `wire.written_at` is set just before it.
        """

    async def warm(self, connections: int) -> int:
        """Open up to this many idle connections ahead of the first request; returns how many are open."""

    async def aclose(self) -> None:
        """Close all connections."""
