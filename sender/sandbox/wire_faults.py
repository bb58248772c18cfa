"""Faults that happen on the wire: the request is carried out, and its answer does not arrive as it should."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.sandbox.exchange import Answer, head_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.sandbox.faults import Fault
    from sender.sandbox.transport import StampedTransport

GARBAGE: Final = b"\x15\x03\x01\x00\x02\x02\x28 this is not HTTP \x00\xff\r\n\r\n"


class Outgoing(NamedTuple):
    """An answer on its way to the client."""

    answer: Answer
    body: bytes
    """Empty when HEAD was asked."""
    fault: Fault
    date: str
    done: Callable[[], None]
    """To be called when all has been written."""

    def head(self, *, chunked: bool = False) -> bytes:
        """Status line and headers as if nothing were wrong."""
        return head_bytes(self.answer, None if chunked else len(self.answer.body), close=False, date=self.date)


def _reset(transport: StampedTransport, _: Outgoing) -> None:
    transport.reset()


def _close(transport: StampedTransport, _: Outgoing) -> None:
    transport.close()


def _hang(transport: StampedTransport, _: Outgoing) -> None:
    transport.abandon()


def _cut_body(transport: StampedTransport, out: Outgoing) -> None:
    transport.write(out.head() + out.body[: len(out.body) // 2], transport.linger)


def _garbage(transport: StampedTransport, _: Outgoing) -> None:
    transport.write(GARBAGE, transport.linger)


def _chunked(transport: StampedTransport, out: Outgoing) -> None:
    third = len(out.body) // 3 + 1
    pieces = [out.body[at : at + third] for at in range(0, len(out.body), third)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    transport.write(out.head(chunked=True) + (coded if out.body else b""), out.done)


def _slow_body(transport: StampedTransport, out: Outgoing) -> None:
    """The head at once, the body in up to ten pieces spread over the fault's seconds."""
    transport.write(out.head())
    loop = asyncio.get_running_loop()
    count = min(10, len(out.body)) or 1
    size = -(-len(out.body) // count) or 1
    for number in range(count):
        piece = out.body[number * size : (number + 1) * size]
        done = out.done if number == count - 1 else None
        loop.call_later(out.fault.seconds * (number + 1) / count, transport.write, piece, done)


WIRE_FAULTS: Final[dict[str, Callable[[StampedTransport, Outgoing], None]]] = {
    "reset_after": _reset,
    "close_after": _close,
    "hang": _hang,
    "cut_body": _cut_body,
    "garbage": _garbage,
    "chunked": _chunked,
    "slow_body": _slow_body,
}
"""What each does, by the name of the fault."""
