"""A bare HTTP client that sees every byte, and sandboxes that take requests as fast as they come."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import sender.sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sender.sandbox.server import Server

KEY = "sandbox-key"
EMAIL: dict[str, Any] = {"to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": "42"}}


class Seen(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(method: str, path: str, body: bytes = b"", key: str | None = KEY, extra: str = "") -> bytes:
    auth = f"Authorization: Bearer {key}\r\n" if key else ""
    kind = "" if "content-type" in extra.lower() else "Content-Type: application/json\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{auth}{kind}{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def call(
        self, method: str, path: str, document: Any = None, *, key: str | None = KEY, extra: str = "", raw: bytes = b""
    ) -> Seen:
        body = raw if document is None else json.dumps(document).encode()
        self.writer.write(request_bytes(method, path, body, key, extra))
        return await self.answer(head_only=method == "HEAD")

    async def answer(self, *, head_only: bool = False) -> Seen:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = b"" if head_only else await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Seen(int(first.split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def rest(self) -> bytes:
        """All until the connection ends; raises ConnectionResetError after a reset."""
        return await asyncio.wait_for(self.reader.read(-1), 5)

    async def aclose(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20))
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def sandbox(**options: Any) -> AsyncIterator[tuple[Server, Client]]:
    """Without limits and lags unless they are given."""
    free = {"rate_send": 0.0, "rate_trigger": 0.0, "rate_app": 0.0, "visibility_lag": 0.0, "processing_time": 0.0}
    async with sender.sandbox.running(**(free | options)) as server, connected(server) as client:
        yield server, client


class Clock:
    """The sandbox's wall clock, moved by hand."""

    def __init__(self, server: Server) -> None:
        self.now = time.time()
        server.app.world.now = lambda: self.now  # type: ignore[method-assign]


def error_a(seen: Seen) -> str:
    """The text of shape A, which must hold nothing else."""
    assert set(seen.json) == {"meta"}
    assert set(seen.json["meta"]) == {"error"}
    return str(seen.json["meta"]["error"])


def error_c(seen: Seen) -> dict[str, Any]:
    """The one error of shape C."""
    assert set(seen.json) == {"errors"}
    (error,) = seen.json["errors"]
    return dict(error)
