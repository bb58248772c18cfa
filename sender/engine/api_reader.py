"""The ApiReader: every GET of our own, in the app lane's pace and with no more than a part of it while jobs run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson
from aiolimiter import AsyncLimiter

from sender.transport import Reply, Request, TransportFault, Wire
from sender.transport.verdict import parse_retry_after

if TYPE_CHECKING:
    from sender.pacing.pace import Pace
    from sender.pacing.permit import Permit
    from sender.transport import Transport

OWN_SHARE: Final = 5.0
"""Requests a second that our own reading takes of the app lane's ten: jobs there must not starve."""
TRIES: Final = 4
FIRST_WAIT: Final = 0.5
PAGE: Final = 1000
MOST_PAGES: Final = 1000


class ReadingRefusedError(Exception):
    """The key may not read (401, 403): nothing further is asked."""


class ReadingFailedError(Exception):
    """This could not be read now; the text says why."""


class ApiReader:
    """Reads the API; `readable` turns false for good when the key may not."""

    def __init__(self, transport: Transport, pacer: Pace) -> None:
        self._transport = transport
        self._pacer = pacer
        self._share = AsyncLimiter(1, 1 / min(OWN_SHARE, max(0.1, pacer.rate / 2)))
        self.readable = True
        self.alone = False
        """Set when no job is left: then reading takes the whole rate."""
        self.waiting = 0
        """Requests that wait for their permit."""

    async def get(self, request: Request) -> Reply:
        """One attempt, whatever the answer; raises TransportFault."""
        if not self.alone:
            await self._share.acquire()
        self.waiting += 1
        try:
            permit = await self._pacer.acquire()
        finally:
            self.waiting -= 1
        return await self._send(request, permit)

    async def probe(self, request: Request, seconds: float) -> Reply:
        """The same to see whether the API is there: it waits for the limit alone; TimeoutError without an answer."""
        permit = await self._pacer.acquire_urgent()
        async with asyncio.timeout(seconds):
            return await self._send(request, permit)

    async def _send(self, request: Request, permit: Permit) -> Reply:
        try:
            return await self._transport.send(request, Wire(on_written=permit.written))
        finally:
            permit.cancel()

    async def read(self, path: str, **query: object) -> dict[str, Any]:
        """The JSON object of a 200, after a few tries; raises ReadingRefusedError or ReadingFailedError."""
        wanted = {name: str(value) for name, value in query.items() if value is not None}
        request = Request("GET", f"{path}?{urlencode(wanted)}" if wanted else path)
        for attempt in range(TRIES):
            if not self.readable:
                raise ReadingRefusedError
            answer = await self._try(request)
            if isinstance(answer, Mapping):
                return dict(answer)
            why, wait, final = answer
            if final:
                break
            if attempt < TRIES - 1:
                await asyncio.sleep(max(wait or 0.0, FIRST_WAIT * 2**attempt))
        raise ReadingFailedError(why)

    async def read_all(self, path: str, name: str, **query: object) -> list[dict[str, Any]]:
        """All pages of a list; one that lacks a page raises, and is no list."""
        found: list[dict[str, Any]] = []
        start: str | None = None
        for _ in range(MOST_PAGES):
            document = await self.read(path, limit=PAGE, start=start, **query)
            entries = document.get(name)
            if not isinstance(entries, list | None):
                raise ReadingFailedError(f"its answer has no list of {name}")
            found += [entry for entry in entries or () if isinstance(entry, dict)]
            following = document.get("next")
            if following in (None, "", 0, "0"):
                return found
            start = str(following)
        raise ReadingFailedError(f"its list of {name} does not end")

    async def _try(self, request: Request) -> Mapping[str, Any] | tuple[str, float | None, bool]:
        """What a 200 says; else why not, how long to wait, and whether there is no use in another try."""
        try:
            reply = await self.get(request)
        except TransportFault as fault:
            return fault.message, None, False
        if reply.status in (401, 403):
            self.readable = False
            raise ReadingRefusedError
        if reply.status == 200:
            try:
                document = orjson.loads(reply.body)
            except orjson.JSONDecodeError:
                return "the API gave an answer that is not JSON", None, False
            return document if isinstance(document, dict) else ("the API gave no JSON object", None, True)
        wait = parse_retry_after(reply.retry_after, time.time())
        if wait is not None and wait > 60:
            return f"the API asks to wait {wait:,.0f} s", None, True
        return f"the API answered {reply.status}", wait, reply.status < 500 and reply.status not in (408, 429)
