"""async-customerio, an asyncio client of the same API, over httpx; it may keep all of its connections."""

from __future__ import annotations

import asyncio

from async_customerio import AsyncAPIClient, RequestLimits, SendEmailRequest
from common import EMAIL, KEY

from rivals.bare_aiohttp import CONNECTIONS


async def full(url: str) -> None:
    limits = RequestLimits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with AsyncAPIClient(KEY, url=url, request_limits=limits) as client, asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(_for_ever(client))


async def _for_ever(client: AsyncAPIClient) -> None:
    while True:
        await client.send_email(SendEmailRequest(**EMAIL))
