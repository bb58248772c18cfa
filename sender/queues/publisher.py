"""What all publishers have in common: dead letters and outcome lines, durable before the call returns."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from sender.queues.broker_connection import BrokerConnection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.queues.address import Address

C = TypeVar("C")


class Letter(NamedTuple):
    """One line on its way to a broker."""

    line: bytes
    field: str
    """`job` or `outcome`."""
    reason: str | None = None
    """JSON in ASCII, on one line."""


class Publisher(ABC, Generic[C]):
    """DeadLetter and OutcomeSink in one, but for what is said to the broker itself."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.shown = address.shown
        self._connection: BrokerConnection[C] = BrokerConnection(
            address, self._connect, self._disconnect, self._is_lost
        )

    @property
    def alive(self) -> bool:
        """Whether the broker answered the last call."""
        return self._connection.alive

    async def open(self) -> None:
        """Connect and check that the target is there: QueueError if it is not, QueueLost if nobody answers."""
        await self._connection.run(self._check)

    async def put(self, line: bytes, reason: Mapping[str, object]) -> None:
        """Durably keep a job line with the reason why nobody will try it again."""
        letter = Letter(line, "job", json.dumps(reason))
        await self._connection.run(lambda client: self._publish(client, [letter]))

    async def append(self, lines: Sequence[bytes]) -> None:
        """Durably append outcome lines in order; after an error some may stand there already."""
        letters = [Letter(line, "outcome") for line in lines]
        if letters:
            await self._connection.run(lambda client: self._publish(client, letters))

    async def aclose(self) -> None:
        """Disconnect."""
        await self._connection.aclose()

    @abstractmethod
    async def _connect(self) -> C: ...

    @abstractmethod
    async def _disconnect(self, client: C) -> None: ...

    @abstractmethod
    def _is_lost(self, error: Exception) -> bool | None: ...

    @abstractmethod
    async def _check(self, client: C) -> None: ...

    @abstractmethod
    async def _publish(self, client: C, letters: list[Letter]) -> None: ...
