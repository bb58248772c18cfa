"""The LiveServer: one page, its events, and what an operator may do from it (docs/live.md).

    GET  /         the page; with /live.js and /live.css, and nothing from anywhere else
    GET  /events   server-sent events: the history, then the figures every second
    GET  /figures  the figures once, as JSON
    POST /pause, /resume, /rate, /letters, /redrive, /repair   with `Authorization: Bearer TOKEN`

On loopback everybody of this machine may look; elsewhere the token is asked for. A page that reads no more is let go
of, and one too many is refused: nobody who looks can slow the run.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
import structlog
from aiohttp import web

from sender.errors import SenderError, UsageError
from sender.runtime.bounded_server import BACKLOG, BoundedServer, answer, plain, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sender.runtime.live.controls import Letters
    from sender.runtime.live.live_address import LiveAddress
    from sender.runtime.live.live_token import LiveToken
    from sender.runtime.live.live_view import LiveView

MOST_PAGES: Final = 256
MOST_CONNECTIONS: Final = MOST_PAGES + 64
STALLED: Final = 10.0
"""Seconds for which a page may read nothing."""
ACT_WITHIN: Final = 60.0
"""Seconds for what an operator asked for."""
CLOSE_WITHIN: Final = 1.0
"""Seconds in which the open pages are told of the end."""
TELL_EVERY: Final = 60.0
"""Seconds between two words on wrong tokens."""
MOST_NAMES: Final = 1000
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE: Final = {
    "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}
FILES: Final = {
    "/": ("page.html", "text/html; charset=utf-8"), "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
}

log = structlog.get_logger()


class LiveServer:
    """Made by `open`, ended by `aclose`."""

    def __init__(self, view: LiveView, address: LiveAddress, token: LiveToken | None, *, personal: bool) -> None:
        self.pages = 0
        """Pages that get events now."""
        self._view = view
        self._address = address
        self._token = token
        self._personal = personal
        self._server = BoundedServer(self._answer, most=MOST_CONNECTIONS)
        self._listener: asyncio.Server | None = None
        self._left = asyncio.Event()
        """Set while no page gets events."""
        self._left.set()
        self._wrong_tokens = 0
        self._told_at = float("-inf")
        self._acts: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "/pause": self._pause, "/resume": self._resume, "/rate": self._rate, "/letters": self._look_at_letters,
            "/redrive": self._redrive, "/repair": self._repair,
        }

    @classmethod
    async def open(
        cls, view: LiveView, address: LiveAddress, token: LiveToken | None, *, personal: bool = False
    ) -> Self:
        """Listen; UsageError when the port is taken or may not be had."""
        self = cls(view, address, token, personal=personal)
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._server, address.host, address.port, backlog=BACKLOG)
        except OSError as error:
            raise UsageError(
                f"--live: cannot listen on {address.host} port {address.port}: {error.strerror or error}. "
                "Name another port; 0 takes a free one"
            ) from None
        return self

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._listener is not None  # noqa: S101 - made by `open`
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        return self._address.url(self.port)

    async def aclose(self) -> None:
        """Tell the open pages of the end, and let go of all connections."""
        if self._listener is None:
            return
        self._listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._left.wait()
        await self._server.abort()
        await self._listener.wait_closed()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = refused(request, "GET", "HEAD", "POST") or self._of_strangers(request)
        if refusal is not None:
            return refusal
        if request.method == "POST":
            return await self._act(request)
        if request.path in FILES:
            name, content_type = FILES[request.path]
            return answer(200, content_type, (files(__package__) / "page" / name).read_bytes(), **SAFE)
        if request.path not in ("/events", "/figures"):
            return plain(404)
        if not (self._address.is_loopback or self._has_token(request)):
            return _unauthorized()
        if request.path == "/figures":
            return answer(200, "application/json", self._view.event(), **SAFE)
        return await self._stream(request)

    def _of_strangers(self, request: web.BaseRequest) -> web.Response | None:
        """Refuse what a page of somebody else's has a browser ask."""
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        return plain(403) if foreign or not self._address.takes(host) else None

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.pages >= MOST_PAGES:
            return plain(503, **{"Retry-After": "5"})
        self.pages += 1
        self._left.clear()
        self._server.keep(request)
        response = web.StreamResponse(headers={
            "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
            "Server": "sender", **SAFE,
        })
        response.force_close()
        try:
            with suppress(ConnectionError, TimeoutError):
                await response.prepare(request)
                await self._write_events(response)
        finally:
            self.pages -= 1
            if not self.pages:
                self._left.set()
        return response

    async def _write_events(self, response: web.StreamResponse) -> None:
        view = self._view
        number = view.number
        points = list(map(list, view.history.points))
        hello = {"points": points, "token": self._token is not None, "personal": self._personal}
        await _write(response, b"history", orjson.dumps(hello))
        await _write(response, b"figures", view.event())
        while not view.ended:
            number = await view.newer_than(number)  # one that reads slowly misses what is old by now
            await _write(response, b"figures", view.event())

    def _has_token(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization")
        if self._token is None or given is None:
            return False
        right = self._token.is_in(given)
        self._wrong_tokens += not right
        now = asyncio.get_running_loop().time()
        if not right and now - self._told_at >= TELL_EVERY:
            self._told_at = now
            log.warning("somebody came to the live page with a wrong token", times=self._wrong_tokens)
        return right

    async def _act(self, request: web.BaseRequest) -> web.Response:
        if request.path not in self._acts:
            return plain(404)
        if self._token is None:
            return _told(403, "this run was started without --live-token-file: its page only shows")
        if not self._has_token(request):
            return _unauthorized()
        if request.content_type != "application/json":
            return plain(415)
        self._server.keep(request)
        try:
            async with asyncio.timeout(ACT_WITHIN):
                given = orjson.loads(await request.read() or b"{}")
                done = await self._acts[request.path](given)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return _told(400, "that is not what this can be asked")
        except SenderError as error:
            return _told(409, str(error))
        except TimeoutError:
            return _told(504, f"there was no answer within {ACT_WITHIN:g} s; look again what became of it")
        return answer(200, "application/json", orjson.dumps({"done": done}), **SAFE)

    async def _pause(self, _: Any) -> str:
        await self._controls().pause(True)
        log.warning("the live page asked for a pause")
        return "paused"

    async def _resume(self, _: Any) -> str:
        await self._controls().pause(False)
        log.info("the live page asked to go on")
        return "resumed"

    async def _rate(self, given: Any) -> str:
        rate = given["rate"]
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            raise TypeError
        await self._controls().set_rate(float(rate))
        log.info("the live page changed the rate", rate=rate)
        return f"{rate:g} a second"

    async def _look_at_letters(self, _: Any) -> Any:
        return await self._letters().look(personal=self._personal)

    async def _redrive(self, given: Any) -> str:
        names = given["letters"]
        if not isinstance(names, list) or len(names) > MOST_NAMES or not all(isinstance(one, str) for one in names):
            raise TypeError
        return await self._letters().redrive(names)

    async def _repair(self, given: Any) -> str:
        name, line = given["letter"], given["line"]
        if not (self._personal and isinstance(name, str) and isinstance(line, str)):
            raise UsageError("job lines are shown and repaired only by a run with --live-personal")
        return await self._letters().repair(name, line)

    def _controls(self) -> Any:
        if self._view.controls is None:
            raise UsageError("there is nothing to be done now: the run begins, or has ended")
        return self._view.controls

    def _letters(self) -> Letters:
        letters: Letters | None = self._controls().letters
        if letters is None:
            raise UsageError("this run has no dead letter queue")
        return letters


async def _write(response: web.StreamResponse, name: bytes, data: bytes) -> None:
    """TimeoutError from a page that does not read."""
    async with asyncio.timeout(STALLED):
        await response.write(b"event: %b\ndata: %b\n\n" % (name, data))


def _unauthorized() -> web.Response:
    return plain(401, **{"WWW-Authenticate": "Bearer"})


def _told(status: int, why: str) -> web.Response:
    return answer(status, "application/json", orjson.dumps({"error": why}), **SAFE)
