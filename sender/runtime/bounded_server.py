"""A BoundedServer answers HTTP for few connections and little time each, so that no stranger holds up a run.

One request a connection. Above its number of connections the oldest one that may be let go of makes room for a
newcomer; one that takes longer than its time is cut off. What lasts longer on purpose asks for it with `keep`.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_LINE: Final = 4096
"""Bytes of a request's first line, and of each of its headers."""
MOST_HEADERS: Final = 64
WITHIN: Final = 5.0
"""Seconds for a whole request, from its connection to its last byte."""
LINGER: Final = 1.0
"""Seconds in which a body is read and dropped after the answer, so that the client gets it before the end."""
CLOSE_WITHIN: Final = 0.1
BACKLOG: Final = 256

log = structlog.get_logger()
_silent = logging.getLogger("sender.http")
_silent.disabled = True  # what a stranger sends to the port is no event of the run


class BoundedServer(web.Server):
    """The protocol factory of a listener; `most` is the number of its connections."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, most: int) -> None:
        super().__init__(answer)
        self.open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}
        self._most = most
        self._kept: set[web.RequestHandler] = set()

    def __call__(self) -> web.RequestHandler:
        """See `web.Server`."""
        return _Connection(
            self, loop=asyncio.get_running_loop(), access_log=_silent, logger=_silent, keepalive_timeout=0,
            lingering_time=LINGER, max_line_size=MOST_LINE, max_field_size=MOST_LINE, max_headers=MOST_HEADERS,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """See `web.Server`."""
        super().connection_made(handler, transport)
        if len(self.open) >= self._most:
            oldest = next((one for one in self.open if one not in self._kept), None)
            if oldest is None:
                transport.abort()
                return
            self._let_go(oldest)
        timer = asyncio.get_running_loop().call_later(WITHIN, transport.abort)
        self.open[handler] = transport, timer

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """See `web.Server`."""
        super().connection_lost(handler, exc)
        self._let_go(handler)

    def keep(self, request: web.BaseRequest) -> None:
        """This request may take its time, and makes no room for others."""
        handler = request.protocol
        if handler in self.open:
            self.open[handler][1].cancel()
            self._kept.add(handler)

    async def abort(self) -> None:
        """Let go of all."""
        for handler in tuple(self.open):
            self._let_go(handler)
        await self.shutdown(CLOSE_WITHIN)

    def _let_go(self, handler: web.RequestHandler) -> None:
        self._kept.discard(handler)
        if handler in self.open:
            transport, timer = self.open.pop(handler)
            timer.cancel()
            transport.abort()


class _Connection(web.RequestHandler):
    """Answers in few words what is no request."""

    def handle_error(
        self, _: web.BaseRequest, status: int = 500, exc: BaseException | None = None, __: str | None = None
    ) -> web.Response:
        """See `web.RequestHandler`; the reason is never told to a stranger."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("a server of this run could not answer", error=type(exc).__name__)
        return plain(431 if isinstance(exc, LineTooLong) else status)


def refused(request: web.BaseRequest, *methods: str) -> web.Response | None:
    """The answer to what is no request that a server of ours takes; None where it is one."""
    if request.version not in (HttpVersion10, HttpVersion11):
        return plain(505 if request.version > HttpVersion11 else 400)
    if not request.raw_path.startswith("/"):
        return plain(400)
    if request.method not in methods:
        return plain(405, Allow=", ".join(methods))
    return None


def plain(status: int, **headers: str) -> web.Response:
    """The status in words."""
    return answer(status, "text/plain; charset=utf-8", f"{HTTPStatus(status).phrase}\n".encode(), **headers)


def answer(status: int, content_type: str, body: bytes, **headers: str) -> web.Response:
    """The last answer of its connection."""
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "sender"}
    made = web.Response(status=status, body=body, headers={"Content-Type": content_type, **fixed, **headers})
    made.force_close()
    return made
