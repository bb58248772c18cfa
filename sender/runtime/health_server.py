"""The HealthServer: is it alive, is it ready, and what are its figures, over HTTP (docs/operations.md).

    GET /livez    200 as long as the loop turns; a loop that is stuck answers nothing, and the probe times out
    GET /readyz   200 or 503 and the conditions as JSON
    GET /metrics  the figures, where somebody renders them

One request a connection, GET and HEAD only, few bytes, little time, few connections: the oldest one makes room for a
newcomer, so that nobody who holds connections open keeps the probes out.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, Self

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sender.runtime.conditions import Conditions

MOST_LINE: Final = 4096
"""Bytes of a request's first line, and of each of its headers."""
MOST_HEADERS: Final = 64
WITHIN: Final = 5.0
"""Seconds for a whole request, from its connection to its last byte."""
LINGER: Final = 1.0
"""Seconds in which a body is read and dropped after the answer, so that the client gets it before the end."""
CLOSE_WITHIN: Final = 0.1
MOST_CONNECTIONS: Final = 128
BACKLOG: Final = 256
MOST_PORT: Final = 65535
ALL: Final = "0.0.0.0"  # noqa: S104 - a probe comes from outside of the pod

log = structlog.get_logger()
_silent = logging.getLogger("sender.health")
_silent.disabled = True  # what a stranger sends to the port is no event of the run


class Rendering(Protocol):
    """Renders the figures."""

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, text)."""


class HealthServer:
    """Answers probes and scrapes; made by `open`, ended by `aclose`."""

    def __init__(self, conditions: Conditions, metrics: Rendering | None = None) -> None:
        self._conditions = conditions
        self._metrics = metrics
        self._connections = _Connections(self._answer)
        self._listener: asyncio.Server | None = None

    @classmethod
    async def open(
        cls, conditions: Conditions, port: int, host: str = ALL, *, metrics: Rendering | None = None
    ) -> Self:
        """Listen; `host` may name several addresses, parted by commas (`0.0.0.0,::`). UsageError if it cannot."""
        self = cls(conditions, metrics)
        if not 0 <= port <= MOST_PORT:
            raise UsageError(f"--health-port: {port} is no port; ports end at {MOST_PORT}")
        hosts = [one.strip().strip("[]") for one in host.split(",")]
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._connections, hosts, port, backlog=BACKLOG)
        except OSError as error:
            raise UsageError(f"--health-port: cannot listen on {host} port {port}: {error.strerror or error}") from None
        return self

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return [one.getsockname()[:2] for one in sockets]

    @property
    def connections(self) -> Sequence[web.RequestHandler]:
        """Those that are open."""
        return tuple(self._connections.open)

    async def aclose(self) -> None:
        """Stop listening and let go of all connections."""
        if self._listener is None:
            return
        self._listener.close()
        await self._connections.abort()
        await self._listener.wait_closed()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.version not in (HttpVersion10, HttpVersion11):
            return _plain(505 if request.version > HttpVersion11 else 400)
        if not request.raw_path.startswith("/"):
            return _plain(400)
        if request.method not in ("GET", "HEAD"):
            return _plain(405, Allow="GET, HEAD")
        if request.path == "/livez":
            return _response(200, "text/plain; charset=utf-8", b"ok\n")
        if request.path == "/readyz":
            return _response(200 if self._conditions.ready else 503, "application/json", self._conditions.report())
        if request.path == "/metrics" and self._metrics is not None:
            return _response(200, *await self._metrics.render(request.headers.get("Accept", "")))
        return _plain(404)


class _Connections(web.Server):
    """Makes the protocol of each connection, and bounds their number and their time."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> None:
        super().__init__(answer)
        self.open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self, loop=asyncio.get_running_loop(), access_log=_silent, logger=_silent, keepalive_timeout=0,
            lingering_time=LINGER, max_line_size=MOST_LINE, max_field_size=MOST_LINE, max_headers=MOST_HEADERS,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """See `web.Server`."""
        super().connection_made(handler, transport)
        if len(self.open) >= MOST_CONNECTIONS:
            oldest = next(iter(self.open))
            self._let_go(oldest)
        timer = asyncio.get_running_loop().call_later(WITHIN, transport.abort)
        self.open[handler] = transport, timer

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """See `web.Server`."""
        super().connection_lost(handler, exc)
        self._let_go(handler)

    async def abort(self) -> None:
        """Let go of all."""
        for handler in tuple(self.open):
            self._let_go(handler)
        await self.shutdown(CLOSE_WITHIN)

    def _let_go(self, handler: web.RequestHandler) -> None:
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
            log.warning("the health server could not answer", error=type(exc).__name__)
        return _plain(431 if isinstance(exc, LineTooLong) else status)


def _plain(status: int, **headers: str) -> web.Response:
    return _response(status, "text/plain; charset=utf-8", f"{HTTPStatus(status).phrase}\n".encode(), **headers)


def _response(status: int, content_type: str, body: bytes, **headers: str) -> web.Response:
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "sender"}
    answer = web.Response(status=status, body=body, headers={"Content-Type": content_type, **fixed, **headers})
    answer.force_close()
    return answer
