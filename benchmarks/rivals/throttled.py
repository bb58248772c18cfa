"""throttled-py: GCRA, with its usual burst (as many as a second's limit) and with a burst of one; memory or Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from throttled.asyncio import RateLimiterType, Throttled, rate_limiter, store

from rivals import release

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rivals import Post


async def burst(post: Post, rate: int, count: int) -> None:
    await release(_limiter(rate, rate).limit, post, count)


async def even(post: Post, rate: int, count: int) -> None:
    await release(_limiter(rate, 1).limit, post, count)


async def shared(port: int, limit: int) -> Callable[[], Awaitable[object]]:
    limiter = _limiter(limit, limit, store.RedisStore(server=f"redis://127.0.0.1:{port}/0"))
    return lambda: limiter.limit()


def _limiter(rate: int, most: int, where: Any = None) -> Throttled:
    quota = rate_limiter.per_sec(rate, burst=most)
    return Throttled(key="send", using=RateLimiterType.GCRA.value, quota=quota, store=where, timeout=60)
