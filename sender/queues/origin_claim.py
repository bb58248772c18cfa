"""The OriginClaim of a queue: says every so often which server its name stands for, so that two servers whose queues
have one name are noticed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sender.queues.queue import QueueOrigins

EVERY: Final = 20.0
"""Seconds between two claims."""


class OriginClaim:
    """Of one reader; without `origins` nothing is claimed."""

    def __init__(self, origins: QueueOrigins | None) -> None:
        self._origins = origins
        self._origin: str | None = None
        self._next = float("-inf")

    async def renew(self, name: str, find: Callable[[], Awaitable[str | None]]) -> None:
        """Claim the name for the server that `find` finds, when it is time; QueueError when it is another's."""
        now = asyncio.get_running_loop().time()
        if self._origins is None or now < self._next:
            return
        origin = await find()
        if origin is not None:
            await self._origins.claim(name, origin, instead_of=self._origin)
            self._origin = origin
        self._next = now + EVERY
