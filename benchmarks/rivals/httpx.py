"""httpx, its asyncio client, which may keep all of its connections."""

from __future__ import annotations

import asyncio

import httpx
import orjson
from common import EMAIL

from rivals.bare_aiohttp import CONNECTIONS, HEADERS


async def full(url: str) -> None:
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    client = httpx.AsyncClient(base_url=url, headers=HEADERS, limits=limits)
    async with client, asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(_for_ever(client, orjson.dumps(EMAIL)))


async def _for_ever(client: httpx.AsyncClient, body: bytes) -> None:
    while True:
        await client.post("/v1/send/email", content=body)
