"""aiohttp and nothing else: one prepared body from as many tasks as there are connections, answers read and dropped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import orjson
from common import EMAIL, KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rivals import Post

CONNECTIONS = 64
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


async def full(url: str) -> None:
    async with poster(url, CONNECTIONS) as post, asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(_for_ever(post))


async def paced(post: Post, rate: int, count: int) -> None:
    """No limiter: slots at fixed times, a sleep until each."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            tasks.create_task(post())


async def _for_ever(post: Post) -> None:
    while True:
        await post()


@asynccontextmanager
async def poster(url: str, connections: int, *, warm: int = 0) -> AsyncIterator[Post]:
    """A function that posts one email, what every limiter without a client paces; `warm` connections stand already."""
    body = orjson.dumps(EMAIL)
    target = f"{url}/v1/send/email"
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def post() -> None:
            async with session.post(target, data=body) as answer:
                await answer.read()

        await asyncio.gather(*(_knock(session, url) for _ in range(warm)))
        yield post


async def _knock(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(f"{url}/_sandbox/stats") as answer:
        await answer.read()
