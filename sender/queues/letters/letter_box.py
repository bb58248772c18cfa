"""A LetterBox is a dead letter queue that is looked through: what lay in it when that began, each letter once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

import orjson

from sender.queues.queue import QueueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.queues.address import Address
    from sender.queues.broker_connection import BrokerConnection

PAGE: Final = 100
LATER: Final = 20.0
"""Seconds of patience more for a page, which may carry many megabytes."""

C = TypeVar("C")


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A message that nobody tries again, with the reason."""

    data: bytes = field(repr=False)
    """The job line; or, of a stream entry that had none, all its fields as JSON (`is_entry`)."""
    reason: Mapping[str, Any] = field(repr=False)
    """As it was written (docs/queues-and-state.md, "Dead letters"); empty when it cannot be read."""
    handle: Any = field(repr=False)
    """What the broker knows it by."""
    identity: str | None = None
    """As its message carried it (`sender.queues.message_identity`); goes back to the queue with it."""

    @property
    def id(self) -> str | None:
        """The job's id, where the message was a job."""
        return self._text("id")

    @property
    def status(self) -> str:
        """The outcome of its job."""
        return self._text("reason") or "unknown"

    @property
    def code(self) -> str:
        """Why, as one word: an error code, else the status."""
        return self._text("code") or self.status

    @property
    def key(self) -> str | None:
        """The identity of its job."""
        return self._text("key")

    @property
    def written_at(self) -> float | None:
        """Unix seconds."""
        try:
            return datetime.fromisoformat(self._text("at") or "").timestamp()
        except ValueError:
            return None

    @property
    def is_entry(self) -> bool:
        """Whether the data are the fields of an entry without a job line."""
        return self.reason.get("entry") is True

    @property
    def is_cut(self) -> bool:
        """Whether the data are no more than the beginning of a message that was larger than any job."""
        return bool(self.reason.get("unread"))

    def _text(self, name: str) -> str | None:
        value = self.reason.get(name)
        return value if isinstance(value, str) and value else None


class LetterBox(ABC, Generic[C]):
    """But for what is said to the broker itself."""

    connection_type: ClassVar[type[BrokerConnection[Any]]]

    def __init__(self, address: Address) -> None:
        self.address = address
        self.shown = address.shown
        self._connection: BrokerConnection[C] = self.connection_type(address)

    async def open(self) -> None:
        """Connect, and see how far it goes: QueueError when it is not there, QueueLost when nobody answers."""
        await self._connection.run(self._begin)

    async def read(self) -> Sequence[Letter]:
        """Some further letters, the oldest first; none at the end."""
        return await self._connection.run(self._read, longer=LATER)

    async def remove(self, letters: Sequence[Letter]) -> None:
        """Take these out for good."""
        if letters:
            await self._connection.run(lambda client: self._remove(client, letters))

    async def leave(self, letters: Sequence[Letter]) -> None:
        """These stay; others may see them at the latest when it is closed."""
        if letters:
            await self._connection.run(lambda client: self._leave(client, letters))

    async def aclose(self) -> None:
        """What was left may be seen by others; disconnect."""
        if self._connection.alive:
            with suppress(QueueError):
                await self._connection.run(self._end)
        await self._connection.aclose()

    @abstractmethod
    async def _begin(self, client: C) -> None: ...

    @abstractmethod
    async def _read(self, client: C) -> list[Letter]: ...

    @abstractmethod
    async def _remove(self, client: C, letters: Sequence[Letter]) -> None: ...

    async def _leave(self, client: C, letters: Sequence[Letter]) -> None:
        """For a broker that takes no note of who has read."""

    async def _end(self, client: C) -> None:
        """Say good-bye to the broker."""


def read_reason(text: str | bytes | None) -> dict[str, Any]:
    """The reason of a letter, which anyone may have written."""
    try:
        found = orjson.loads(text or b"")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
