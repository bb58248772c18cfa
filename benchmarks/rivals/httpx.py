"""httpx, its asyncio client, with its own limits: allowed to keep all of its connections it is slower still."""

from __future__ import annotations

import asyncio

import httpx
import orjson
from common import EMAIL

from rivals.bare_aiohttp import CONNECTIONS, HEADERS


async def full(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers=HEADERS) as client, asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(_for_ever(client, orjson.dumps(EMAIL)))


async def _for_ever(client: httpx.AsyncClient, body: bytes) -> None:
    while True:
        await client.post("/v1/send/email", content=body)
