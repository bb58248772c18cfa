"""An Exchange is one request on its way and the wait for its answer: no task, so that thousands a second are cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.transport import Reply, TransportFault, Wire
from sender.transport.wire.answer_reader import AnswerFault

if TYPE_CHECKING:
    import asyncio

    from sender.transport import OnEnd
    from sender.transport.deadlines import Deadlines
    from sender.transport.wire.connection import WireConnection


class Exchange:
    """Tells `on_end` once what came of the request, unless it is given up before."""

    __slots__ = ("_connection", "_deadlines", "_on_end", "due", "opening", "wire")

    def __init__(self, wire: Wire, on_end: OnEnd, deadlines: Deadlines) -> None:
        self.wire = wire
        self.opening: asyncio.Task[None] | None = None
        """What waits for a connection, where none was idle."""
        self._on_end: OnEnd | None = on_end
        self._connection: WireConnection | None = None
        self._deadlines = deadlines
        self.due = deadlines.begin(self)
        """Loop time after which nobody waits for the answer."""

    def write(self, connection: WireConnection, head: bytes, body: bytes, most_answer: int) -> None:
        """Have the connection carry the request, and tell the pacer."""
        self._connection = connection
        try:
            connection.request(head, body, most_answer, self._answered)
            self.wire.written_at = connection.written_at
            if self.wire.on_written is not None:
                self.wire.on_written()
        except BaseException:
            self._let_go()
            raise

    def end(self, answer: Reply | BaseException) -> None:
        """This came of it."""
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            self._deadlines.end(self)
            on_end(answer)

    def give_up(self) -> None:
        """Wait no longer, and tell nobody; what the kernel has not sent yet is dropped."""
        self._on_end = None
        self._deadlines.end(self)
        self._let_go()

    def expire(self) -> None:
        """See `Expiring`."""
        self._let_go()
        reach = "before its request was written" if self.wire.written_at is None else "after its request was written"
        self.end(fault("timeout", self.wire, f"no complete answer in {self._deadlines.seconds:g} s; {reach}"))

    def _answered(self, answer: Reply | AnswerFault) -> None:
        self._connection = None
        self.end(fault(answer.code, self.wire, answer.message) if isinstance(answer, AnswerFault) else answer)

    def _let_go(self) -> None:
        if self.opening is not None:
            self.opening.cancel()
        if self._connection is not None:
            self._connection.give_up(self._answered)


def fault(code: str, wire: Wire, message: str) -> TransportFault:
    """The fault of a request that got as far as its `wire` tells."""
    return TransportFault(code, "unwritten" if wire.written_at is None else "written", message)
