"""asyncio-throttle: a window of one second that is looked at every 10 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncio_throttle import Throttler

from rivals import release

if TYPE_CHECKING:
    from rivals import Post


async def paced(post: Post, rate: int, count: int) -> None:
    await release(Throttler(rate_limit=rate, period=1.0).acquire, post, count)
