"""The Listener takes reporting webhooks over HTTP or HTTPS (docs/following.md, "Webhooks").

    POST (any path)   200 when the event is durable, or is none of ours; 503 when it could not be kept
                      401 without a right signature, or at another time; 413 when it is too large

Bodies are never logged. Requests are bounded in size, time and number before anything of them is believed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import orjson
import structlog
from aiohttp import web

from sender.errors import UsageError
from sender.follow.news import read_event

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from sender.follow.webhooks.intake import Intake
    from sender.follow.webhooks.signature import SignatureCheck

MOST_BODY: Final = 8 << 20
"""Bytes of an event; one with the body of its message is smaller."""
MOST_BODIES: Final = 64 << 20
"""Bytes of all bodies that are read at once."""
READ_WITHIN: Final = 10.0
"""Seconds for a body."""
KEEP_WITHIN: Final = 3.5
"""Seconds for an event to become durable: after 4 the vendor waits no longer."""
IDLE: Final = 75.0
MOST_CONNECTIONS: Final = 512
MOST_LINE: Final = 8190
TELL_EVERY: Final = 60.0
CLOSE_WITHIN: Final = 1.0

log = structlog.get_logger()
_silent = logging.getLogger("sender.webhooks")
_silent.disabled = True  # what a stranger sends to the port is no event of the run


class Listener:
    """Made by `open`, ended by `aclose`."""

    def __init__(self, intake: Intake, check: SignatureCheck) -> None:
        self._intake = intake
        self._check = check
        self._server = _Connections(self._answer)
        self._listener: asyncio.Server | None = None
        self._reading = 0
        self._told: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        """Events that were `kept`, `ignored` since they are none of ours, `refused`, or `failed` to be kept."""

    @classmethod
    async def open(
        cls, intake: Intake, check: SignatureCheck, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Listen; UsageError if it cannot."""
        self = cls(intake, check)
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._server, host, port, ssl=tls)
        except OSError as error:
            raise UsageError(f"--listen: cannot listen on {host} port {port}: {error.strerror or error}") from None
        return self

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where it listens."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return [one.getsockname()[:2] for one in sockets]

    async def aclose(self) -> None:
        """Stop listening, and let what is being answered end."""
        if self._listener is not None:
            self._listener.close()
            await self._server.shutdown(CLOSE_WITHIN)
            await self._listener.wait_closed()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return _plain(405, Allow="POST")
        stamp = request.headers.get("X-CIO-Timestamp")
        refused = self._check.refused_stamp(stamp, time.time())
        if refused is not None or stamp is None:
            return self._refuse(401, refused or "")
        size = request.content_length if request.content_length is not None else MOST_BODY
        if size > MOST_BODY:
            return self._refuse(413, f"it is larger than {MOST_BODY:,} bytes")
        if self._reading + size > MOST_BODIES:
            return self._refuse(503, "too many come at once")
        self._reading += size
        try:
            return await self._receive(request, stamp)
        finally:
            self._reading -= size

    async def _receive(self, request: web.BaseRequest, stamp: str) -> web.Response:
        try:
            async with asyncio.timeout(READ_WITHIN):
                body = await _body(request)
        except TimeoutError:
            return self._refuse(408, "its body did not come")
        if body is None:
            return self._refuse(413, f"it is larger than {MOST_BODY:,} bytes")
        if not self._check.is_signed(stamp, request.headers.get("X-CIO-Signature"), body):
            return self._refuse(401, "its signature is not of this key")
        return await self._keep(body)

    async def _keep(self, body: bytes) -> web.Response:
        try:
            news = read_event(orjson.loads(body))
        except orjson.JSONDecodeError:
            news = None
        if news is None:
            self.counts["ignored"] += 1
            return _plain(200)
        try:
            async with asyncio.timeout(KEEP_WITHIN):
                kept = await self._intake.put(news)
        except TimeoutError:
            kept = False
        self.counts["kept" if kept else "failed"] += 1
        return _plain(200 if kept else 503)

    def _refuse(self, status: int, because: str) -> web.Response:
        """Told in the log once a minute for each reason."""
        self.counts["refused"] += 1
        now = asyncio.get_running_loop().time()
        if now - self._told.get(because, float("-inf")) >= TELL_EVERY:
            self._told[because] = now
            log.warning("a webhook was refused", status=status, because=because)
        answer = _plain(status)
        answer.force_close()
        return answer


class _Connections(web.Server):
    """Makes the protocol of each connection, and bounds their number: the oldest makes room for a newcomer."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self, loop=asyncio.get_running_loop(), access_log=_silent, logger=_silent, keepalive_timeout=IDLE,
            max_line_size=MOST_LINE, max_field_size=MOST_LINE, lingering_time=CLOSE_WITHIN,
            auto_decompress=False,  # the signature is that of the bytes, and a stranger has nothing unpacked
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """See `web.Server`."""
        if len(self.connections) >= MOST_CONNECTIONS:
            oldest = self.connections[0]
            if oldest.transport is not None:
                oldest.transport.close()
        super().connection_made(handler, transport)


class _Connection(web.RequestHandler):
    """Answers in few words what is no request."""

    def handle_error(
        self, _: web.BaseRequest, status: int = 500, exc: BaseException | None = None, __: str | None = None
    ) -> web.Response:
        """See `web.RequestHandler`; the reason is never told to a stranger."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("a webhook could not be answered", error=type(exc).__name__)
        answer = _plain(status)
        answer.force_close()
        return answer


async def _body(request: web.BaseRequest) -> bytes | None:
    """The whole body; None as soon as it is larger than it may be."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BODY:
            return None
    return bytes(body)


def _plain(status: int, **headers: str) -> web.Response:
    fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "sender"}
    body = f"{HTTPStatus(status).phrase}\n".encode()
    fixed["Content-Type"] = "text/plain; charset=utf-8"
    return web.Response(status=status, body=body, headers={**fixed, **headers})
