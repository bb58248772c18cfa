"""Whom sender is measured against: one file for each, which does its part as that library's own pages show it.

    full(url)                     requests as quickly as it can, for ever
    paced(post, rate, count)      so many posts at so many a second
    shared(port, limit)           waits for a turn under a limit that processes share through Redis
    checks()                      ways to decode and check the bytes of an email; an exception is a no

`FULL`, `PACED`, `SHARED` and `CHECKS` name what stands in the tables, as MODULE:FUNCTION.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    Post = Callable[[], Coroutine[Any, Any, None]]
    """Sends one email and reads the answer."""

FULL: Final = {
    "aiohttp, bare loop": "bare_aiohttp:full",
    "customerio, 10 threads": "customerio:full",
    "async-customerio": "async_customerio:full",
    "httpx": "httpx:full",
}
PACED: Final = {
    "aiohttp, sleep until each slot": "bare_aiohttp:paced",
    "aiolimiter (1, 1/N)": "aiolimiter:even",
    "aiolimiter (N, 1)": "aiolimiter:burst",
    "aiometer": "aiometer:paced",
    "pyrate-limiter": "pyrate:paced",
    "limits, moving window": "limits:paced",
    "throttled-py, GCRA, burst 1": "throttled:even",
    "throttled-py, GCRA": "throttled:burst",
    "asyncio-throttle": "asyncio_throttle:paced",
}
SHARED: Final = {
    "pyrate-limiter": "pyrate:shared",
    "limits, moving window": "limits:shared",
    "throttled-py, GCRA": "throttled:shared",
}
CHECKS: Final = (
    "msgspec:checks", "jsonschema_rs:checks", "fastjsonschema:checks", "pydantic:checks", "jsonschema:checks",
)


def load(what: str) -> Any:
    """MODULE:FUNCTION; ImportError when the rival is not installed."""
    module, _, function = what.partition(":")
    return getattr(importlib.import_module(f"rivals.{module}"), function)


async def release(acquire: Callable[[], Awaitable[object]], post: Post, count: int) -> None:
    """Let each post go as soon as the limiter lets it; they run beside each other."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            await acquire()
            tasks.create_task(post())


async def repeat(hit: Callable[[], Awaitable[bool]], every: float = 0.01) -> None:
    """For limiters that only answer yes or no: ask until it is yes."""
    while not await hit():  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(every)
