"""pyrate-limiter: a log of the last second, in memory or in Redis, with its own buffer of 50 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrate_limiter import Duration, Limiter, Rate, RedisBucket

from rivals import release

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rivals import Post


async def paced(post: Post, rate: int, count: int) -> None:
    await release(Limiter(Rate(rate, Duration.SECOND)).try_acquire_async, post, count)


async def shared(port: int, limit: int) -> Callable[[], Awaitable[object]]:
    from redis.asyncio import Redis

    bucket = await RedisBucket.init([Rate(limit, Duration.SECOND)], Redis(port=port), "limit")
    limiter = Limiter(bucket)
    return lambda: limiter.try_acquire_async("send")
