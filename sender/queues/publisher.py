"""What all publishers have in common: letters, retries and outcome lines, durable before the call returns."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from sender.queues.message_identity import HEADER, to_header
from sender.queues.queue import EXPIRES, REDRIVE, RETRY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.queues.address import Address
    from sender.queues.broker_connection import BrokerConnection
    from sender.queues.queue import Message

C = TypeVar("C")


class OutgoingLine(NamedTuple):
    """One line on its way to a broker."""

    line: bytes
    field: str
    """`job` or `outcome`."""
    reason: str | None = None
    """JSON in ASCII, on one line."""
    identity: str | None = None
    """For the header `x-sender-id`: who the message was that this is a copy of."""
    marks: Mapping[str, str] = MappingProxyType({})
    """Further headers, for who reads it."""
    key: bytes | None = None
    """The Kafka key."""

    @property
    def headers(self) -> dict[str, str]:
        """What a copy carries beside its line."""
        found = {} if self.identity is None else {HEADER: self.identity}
        return {**found, **self.marks}


class Publisher(ABC, Generic[C]):
    """DeadLetter and OutcomeSink in one, but for what is said to the broker itself."""

    connection_type: ClassVar[type[BrokerConnection[Any]]]

    def __init__(self, address: Address) -> None:
        self.address = address
        self.shown = address.shown
        self._connection: BrokerConnection[C] = self.connection_type(address)

    @property
    def alive(self) -> bool:
        """Whether the broker answered the last call."""
        return self._connection.alive

    async def open(self) -> None:
        """Connect and check that the target is there: QueueError if it is not, QueueLost if nobody answers."""
        await self._connection.run(self._check)

    async def put(self, line: bytes, reason: Mapping[str, object], identity: str | None = None) -> None:
        """Durably keep a job line with the reason why nobody will try it again, and who its message was."""
        await self._put([OutgoingLine(line, "job", json.dumps(reason), to_header(identity))])

    async def redrive(self, jobs: Sequence[tuple[bytes, str | None]]) -> None:
        """Durably put these job lines back on their way, each under the identity that its letter carries."""
        await self._put([OutgoingLine(line, "job", None, identity, {REDRIVE: "1"}) for line, identity in jobs])

    async def retry(self, message: Message, reason: Mapping[str, object]) -> None:
        """Durably keep the message for its job's next retry, with what came of the last try."""
        marks = {name: text for name, text in message.headers.items() if name != REDRIVE}
        marks |= {RETRY: str(message.retries + 1)}
        if message.expires_at is not None:
            marks[EXPIRES] = repr(message.expires_at)
        text, identity = json.dumps(reason), to_header(message.identity)
        await self._put([OutgoingLine(message.data, "job", text, identity, marks, message.key)])

    async def copy(self, jobs: Sequence[tuple[bytes, str | None]]) -> None:
        """Durably put these job lines here, each under the identity that its message has; None: its id says it."""
        await self._put([OutgoingLine(line, "job", None, identity) for line, identity in jobs])

    async def append(self, lines: Sequence[bytes]) -> None:
        """Durably append outcome lines in order; after an error some may stand there already."""
        if lines:
            await self._put([OutgoingLine(line, "outcome") for line in lines])

    async def aclose(self) -> None:
        """Disconnect."""
        await self._connection.aclose()

    async def _put(self, lines: list[OutgoingLine]) -> None:
        await self._connection.run(lambda client: self._publish(client, lines))

    async def _check(self, client: C) -> None:
        """What `open` asks when connecting has not asked for the target already."""

    @abstractmethod
    async def _publish(self, client: C, lines: list[OutgoingLine]) -> None: ...
