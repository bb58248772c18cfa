"""What an operator may do from a live page; a front-end offers what it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Letters(Protocol):
    """The dead letter queue of a consumer; every method raises SenderError in words for the operator."""

    async def look(self, *, personal: bool) -> Sequence[Mapping[str, Any]]:
        """The oldest letters, each with its `name`; ids and job lines only where they are asked for."""

    async def redrive(self, names: Sequence[str]) -> str:
        """Put these back into their queues; returns what went where."""

    async def repair(self, name: str, line: str) -> str:
        """Put this job line in the letter's place back into its queue; returns what went where."""


class Controls(Protocol):
    """What a page with the right token can ask of a run."""

    letters: Letters | None
    """None where there is no dead letter queue."""

    async def pause(self, paused: bool) -> None:
        """Start nothing further, in all replicas of a shared state; or go on."""

    async def set_rate(self, rate: float) -> None:
        """Change the limit of the lane `send`; UsageError when it cannot be that."""
