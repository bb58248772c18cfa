"""The Intake of webhooks: events that come together are made durable together."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sender.follow.news import News

    Keep = Callable[[Sequence[News]], Awaitable[None]]

BATCH: Final = 1000
MOST_WAITING: Final = 10_000
"""Events that wait to be written; further ones are refused, and come again."""
TELL_EVERY: Final = 60.0
"""Seconds between two log lines of the same trouble."""

log = structlog.get_logger()


class Intake:
    """Takes events as they come; `keep` makes them durable, or raises OutputError."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._waiting: deque[tuple[News, asyncio.Future[bool]]] = deque()
        self._more = asyncio.Event()
        self._told_at = float("-inf")

    async def put(self, news: News) -> bool:
        """Whether it is durable: False where it could not be written."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((news, done))
        self._more.set()
        return await done

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._more.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not self._waiting:
                self._more.clear()
            durable = await self._write([news for news, _ in batch])
            for _, done in batch:
                if not done.done():  # who waited may have gone
                    done.set_result(durable)

    async def _write(self, news: Sequence[News]) -> bool:
        try:
            await self._keep(news)
        except OutputError as error:
            now = asyncio.get_running_loop().time()
            if now - self._told_at >= TELL_EVERY:
                self._told_at = now
                log.warning("webhooks are not acknowledged: they cannot be kept, and come again", because=str(error))
            return False
        return True
