"""What the metrics look at at each scrape: as little of a lane and a ledger as they need to know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

WITHIN: Final = 2.0
"""Seconds in which a ledger or broker has to answer; a scrape itself has about 5."""

Answer = TypeVar("Answer")


class Pacer(Protocol):
    """What is looked at of a pacer, the run's own or the shared one."""

    requests: int
    most_in_window: int

    @property
    def rate(self) -> float:
        """Requests a second that the limit allows."""

    @property
    def paused_until(self) -> float:
        """Loop time until which the lane is paused."""


class Breaker(Protocol):
    """What is looked at of a circuit breaker."""

    @property
    def state(self) -> str:
        """One of closed, open, trying."""

    @property
    def opened(self) -> int:
        """How often it opened."""


class Lane(Protocol):
    """What is looked at of a lane."""

    @property
    def breaker(self) -> Breaker:
        """Its circuit breaker."""

    @property
    def pacer(self) -> Pacer:
        """Its pace."""

    @property
    def http_429(self) -> int:
        """Requests that were answered with 429."""

    @property
    def in_hand(self) -> int:
        """Requests under way."""

    @property
    def waiting(self) -> int:
        """Jobs taken on and not under way."""


class DeadLetters(Protocol):
    """What is looked at of the way to the dead letter queue."""

    refused: int
    """Tries that the broker refused, or did not answer."""
    waiting: int
    """Letters that are not durable yet."""

    @property
    def written(self) -> Mapping[str, int]:
        """Letters that are durable, by the reason."""


class Queue(Protocol):
    """What is looked at of a queue."""

    redeliveries: int
    """Messages read that had been given out before."""
    give_backs: int
    """Messages put back without an end."""


class Ledger(Protocol):
    """What is asked of a ledger."""

    async def count(self) -> dict[str, int]:
        """Number of jobs in each state."""


async def answer_of(question: Awaitable[Answer]) -> Answer | None:
    """The answer, or None if there is none in time: an old one would be taken for a new one."""
    try:
        async with asyncio.timeout(WITHIN):
            return await question
    except Exception:  # noqa: BLE001 - what cannot be asked is told by those who work with it, not by the scrape
        return None
