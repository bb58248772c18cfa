"""The ApiReader: every GET of our own, in the app lane's pace and with no more than a part of it while jobs run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import orjson
from aiolimiter import AsyncLimiter

from sender.engine.api_clock import ApiClock
from sender.transport import Reply, Request, TransportFault, Wire
from sender.transport.verdict import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sender.engine.pacing.pace import Pace
    from sender.engine.pacing.permit import Permit
    from sender.transport import Transport

OWN_SHARE: Final = 5.0
"""Requests a second that our own reading takes of the app lane's ten: jobs there must not starve."""
TRIES: Final = 4
FIRST_WAIT: Final = 0.5
MOST_WAIT: Final = 60.0
"""Seconds of a Retry-After that are waited for."""
PAGE: Final = 1000
MOST_PAGES: Final = 1000
MOST_ANSWER: Final = 8 << 20
"""Bytes of an answer that we asked for: some 100,000 entries of a list that has no pages."""


class ReadingRefusedError(Exception):
    """The key may not read (401, 403): nothing further is asked."""


class ReadingFailedError(Exception):
    """This could not be read now; the text says why."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        """Of the last answer; None where none came or where it could not be read."""


class _Failure(NamedTuple):
    why: str
    wait: float | None = None
    """Seconds that the API asks for."""
    final: bool = False
    """Whether there is no use in another try."""
    status: int | None = None


class ApiReader:
    """Reads the API; `readable` turns false for good when the key may not."""

    def __init__(self, transport: Transport, pacer: Pace, clock: ApiClock | None = None) -> None:
        self._transport = transport
        self._pacer = pacer
        self.clock = clock or ApiClock()
        self._share = AsyncLimiter(1, 1 / min(OWN_SHARE, max(0.1, pacer.rate / 2)))
        self.readable = True
        self.alone = False
        """Set when no job is left: then reading takes the whole rate."""
        self.waiting = 0
        """Requests that wait for their permit."""

    def take_half(self) -> None:
        """From now on read at half of the lane's rate, however high that is: no job of ours waits for it."""
        self._share = AsyncLimiter(1, 1 / max(0.1, self._pacer.rate / 2))

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

    async def look(self, request: Request) -> Reply:
        """One attempt past every pause, an operator's too, but not past the limit; raises TransportFault."""
        return await self._send(request, await self._pacer.acquire_urgent(though_paused=True))

    async def probe(self, request: Request, seconds: float) -> Reply:
        """The same to see whether the API is there: it waits for the limit alone; TimeoutError without an answer."""
        permit = await self._pacer.acquire_urgent()
        async with asyncio.timeout(seconds):
            return await self._send(request, permit)

    async def _send(self, request: Request, permit: Permit) -> Reply:
        try:
            reply = await self._transport.send(request, Wire(on_written=permit.written))
        finally:
            permit.cancel()
        self.clock.observe(reply.date)
        return reply

    async def read(self, path: str, **query: object) -> dict[str, Any]:
        """The JSON object of a 200, after a few tries; raises ReadingRefusedError or ReadingFailedError."""
        wanted = {name: str(value) for name, value in query.items() if value is not None}
        request = Request("GET", f"{path}?{urlencode(wanted)}" if wanted else path, most_answer=MOST_ANSWER)
        failure = _Failure("nothing was asked")
        for attempt in range(TRIES):
            if not self.readable:
                raise ReadingRefusedError
            answer = await self._try(request)
            if not isinstance(answer, _Failure):
                return answer
            failure = answer
            if failure.final:
                break
            if attempt < TRIES - 1:
                await asyncio.sleep(max(failure.wait or 0.0, FIRST_WAIT * 2**attempt))
        raise ReadingFailedError(failure.why, failure.status)

    async def read_all(self, path: str, name: str, **query: object) -> list[Any]:
        """The entries of all pages of a list, as they came; one that lacks a page raises, and is no list."""
        return [entry async for page in self.pages(path, name, **query) for entry in page]

    async def read_some(self, path: str, name: str, pages: int, **query: object) -> list[Any]:
        """The entries of the first pages of a list, as they came."""
        found: list[Any] = []
        async with aclosing(self.pages(path, name, **query)) as read:
            async for page in read:
                found += page
                pages -= 1
                if pages <= 0:
                    break
        return found

    async def pages(self, path: str, name: str, **query: object) -> AsyncGenerator[list[Any], None]:
        """The entries of a list page by page, as they came; raises as `read`, also where the list does not end."""
        start: str | None = None
        for _ in range(MOST_PAGES):
            document = await self.read(path, limit=PAGE, start=start, **query)
            entries = document.get(name)
            if not isinstance(entries, list | None):
                raise ReadingFailedError(f"its answer has no list of {name}")
            yield entries or []
            following = document.get("next")
            if following in (None, "", 0, "0"):
                return
            start = str(following)
        raise ReadingFailedError(f"its list of {name} does not end")

    async def _try(self, request: Request) -> dict[str, Any] | _Failure:
        """What a 200 says, or why there was none."""
        try:
            reply = await self.get(request)
        except TransportFault as fault:
            return _Failure(fault.message, final=fault.code == "answer_too_large")
        if reply.status in (401, 403):
            self.readable = False
            raise ReadingRefusedError
        if reply.status == 200:
            return _document(reply)
        wait = parse_retry_after(reply.retry_after, self.clock.now())
        if wait is not None and wait > MOST_WAIT:
            return _Failure(f"the API asks to wait {wait:,.0f} s", final=True, status=reply.status)
        final = reply.status < 500 and reply.status not in (408, 429)
        return _Failure(f"the API answered {reply.status}", wait, final, reply.status)


def _document(reply: Reply) -> dict[str, Any] | _Failure:
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return _Failure("the API gave an answer that is not JSON")
    return document if isinstance(document, dict) else _Failure("the API gave no JSON object", final=True)
