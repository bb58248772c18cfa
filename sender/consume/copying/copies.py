"""A Copy is a job line on its way; CopySource and CopyTarget are its two ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Copy(NamedTuple):
    """One job line."""

    line: bytes
    place: str
    """What names it in its source, the same in each run."""
    identity: str | None = None
    """Who its message is (`sender.queues.message_identity`)."""
    handle: Any = None
    """What its source knows it by."""


class CopySource(Protocol):
    """Where jobs come from."""

    @property
    def left(self) -> int:
        """What cannot be copied, and stays."""

    async def open(self) -> None:
        """UsageError or QueueError when it cannot be read."""

    async def read(self) -> Sequence[Copy]:
        """Some further jobs; none at the end."""

    async def done(self, copies: Sequence[Copy]) -> None:
        """These are durable in the target."""

    async def aclose(self) -> None:
        """Let go of it; what was read and is not done is as before."""


class CopyTarget(Protocol):
    """Where they go."""

    async def open(self) -> None:
        """UsageError or QueueError when it cannot be written."""

    async def put(self, copies: Sequence[Copy]) -> int:
        """Durably keep these; returns how many of them were there already."""

    async def aclose(self) -> None:
        """Let go of it."""
