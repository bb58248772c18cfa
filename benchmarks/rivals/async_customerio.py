"""async-customerio, an asyncio client of the same API, over httpx, with its own limits."""

from __future__ import annotations

import asyncio

from async_customerio import AsyncAPIClient, SendEmailRequest
from common import EMAIL, KEY

from rivals.bare_aiohttp import CONNECTIONS


async def full(url: str) -> None:
    async with AsyncAPIClient(KEY, url=url) as client, asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(_for_ever(client))


async def _for_ever(client: AsyncAPIClient) -> None:
    while True:
        await client.send_email(SendEmailRequest(**EMAIL))
