"""limits: a moving window, in memory or in Redis; it only says yes or no, so it is asked every 10 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from rivals import release, repeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rivals import Post


async def paced(post: Post, rate: int, count: int) -> None:
    limiter, item = MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerSecond(rate)
    await release(lambda: repeat(lambda: limiter.hit(item, "send")), post, count)


async def shared(port: int, limit: int) -> Callable[[], Awaitable[object]]:
    storage = RedisStorage(f"async+redis://127.0.0.1:{port}/0", implementation="redispy")
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerSecond(limit)
    return lambda: repeat(lambda: limiter.hit(item, "send"))
