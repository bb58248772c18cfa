"""aiolimiter: a leaky bucket, as it is mostly used (N in a second, so N at once) and with room for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from rivals import release

if TYPE_CHECKING:
    from rivals import Post


async def burst(post: Post, rate: int, count: int) -> None:
    await release(AsyncLimiter(rate, 1).acquire, post, count)


async def even(post: Post, rate: int, count: int) -> None:
    await release(AsyncLimiter(1, 1 / rate).acquire, post, count)
