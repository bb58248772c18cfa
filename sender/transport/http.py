"""The transport over pooled aiohttp sessions.

aiohttp says what went wrong by its exceptions, the payload says whether anything was written: together they tell how
far a request got. A connection that the server closes while it is idle is noticed when it is picked, so it costs
nothing; one that is closed in the very moment of our write cannot be told from one that took the request, and counts
as written. To make that rare, idle connections are dropped after `keep_alive` seconds, sooner than servers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.payload import BytesPayload
from yarl import URL

from sender import __version__
from sender.transport import Reply, Request, TransportFault, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection

KEEP_ALIVE: Final = 10.0
MOST_ANSWER: Final = 1 << 20
LARGE_BODY: Final = 1 << 20
PIECE: Final = 1 << 16

_wire: ContextVar[Wire | None] = ContextVar("wire", default=None)


class _Body(BytesPayload):
    """A body that says when its first bytes, and the head before them, have been handed to the socket."""

    def __init__(self, value: bytes, stamp: Callable[[], None]) -> None:
        # aiohttp warns of bytes over 1 MiB; they are wrapped so that it does not, and written in pieces below.
        super().__init__(value[:0], content_type="application/json")
        self._value = value
        self._size = len(value)
        self._stamp = stamp

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        value = self._value
        if len(value) <= LARGE_BODY:
            await writer.write(value)
            self._stamp()
            return
        view = memoryview(value)
        for start in range(0, len(value), PIECE):
            await writer.write(view[start : start + PIECE])
            self._stamp()


class _Request(aiohttp.ClientRequest):
    """A request that stamps its write when it has no body to do so."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        response = await super().send(conn)
        wire = _wire.get()
        if wire is not None and not self._body:
            _stamp(wire)
        return response


def _stamp(wire: Wire) -> None:
    if wire.written_at is None:
        wire.written_at = asyncio.get_running_loop().time()
        if wire.on_written is not None:
            wire.on_written()


class HttpTransport:
    """Pooled keep-alive connections to one API; the key is asked for at each request, so it can be rotated."""

    def __init__(
        self,
        base_url: str,
        api_key: Callable[[], str],
        *,
        timeout: float = 20.0,
        connections: int = 256,
        keep_alive: float = KEEP_ALIVE,
        most_answer: int = MOST_ANSWER,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._base = URL(base_url, encoded=True)
        self._prefix = self._base.raw_path.rstrip("/")
        self._origin = self._base.origin()
        self._api_key = api_key
        self._timeout = timeout
        self._most_answer = most_answer
        self._urls: dict[str, URL] = {}
        self._connector = aiohttp.TCPConnector(
            limit=connections, keepalive_timeout=keep_alive, ssl=tls if tls is not None else True
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_Request,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=[hdrs.USER_AGENT, hdrs.ACCEPT],
            headers={hdrs.USER_AGENT: f"sender/{__version__}", hdrs.ACCEPT: "application/json"},
            raise_for_status=False,
            trust_env=False,
        )
        # A dropped keep-alive connection would have GET and PUT repeated without a word, past the pacer and the count.
        self._session._retry_connection = False  # noqa: SLF001 - aiohttp has no public switch for it

    async def send(self, request: Request, wire: Wire | None = None) -> Reply:
        """See `Transport.send`."""
        wire = wire or Wire()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(request, wire)
        except TransportFault:
            raise
        except TimeoutError:
            reach = "before its request was written" if wire.written_at is None else "after its request was written"
            raise _fault("timeout", wire, f"no complete answer in {self._timeout:g} s; {reach}") from None
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError, EOFError) as error:
            raise _translate(error, wire) from None

    async def _exchange(self, request: Request, wire: Wire) -> Reply:
        headers = {hdrs.AUTHORIZATION: f"Bearer {self._api_key()}"}
        body = None
        if request.body is not None:
            headers[hdrs.CONTENT_TYPE] = "application/json"
            body = _Body(request.body, lambda: _stamp(wire))
        token = _wire.set(wire)
        try:
            response = await self._session.request(
                request.method, self._url(request.path), data=body, headers=headers, allow_redirects=False
            )
        finally:
            _wire.reset(token)
        try:
            answer = await self._read(response, wire)
            answered_at = self._loop.time()
        except BaseException:
            response.close()
            raise
        response.release()
        _stamp(wire)  # an answer to a request still being written is rare, but it proves that the server has its head
        return Reply(
            response.status,
            response.content_type if hdrs.CONTENT_TYPE in response.headers else "",
            answer,
            response.headers.get(hdrs.RETRY_AFTER),
            wire.written_at or answered_at,
            answered_at,
        )

    async def _read(self, response: aiohttp.ClientResponse, wire: Wire) -> bytes:
        length = response.content_length
        if length is not None and length > self._most_answer:
            raise _fault("answer_too_large", wire, f"the answer is larger than {self._most_answer:,} bytes")
        pieces: list[bytes] = []
        size = 0
        while piece := await response.content.readany():
            size += len(piece)
            if size > self._most_answer:
                raise _fault("answer_too_large", wire, f"the answer is larger than {self._most_answer:,} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = URL(f"{self._origin}{self._prefix}{path}", encoded=True)
            if len(self._urls) < 1000:
                self._urls[path] = url
        return url

    async def warm(self, connections: int) -> int:
        """Open idle connections ahead of the first request; failing to is not an error."""
        opened = await asyncio.gather(*(self._open_one() for _ in range(connections)))
        alive = [connection for connection in opened if connection is not None]
        for connection in alive:
            connection.release()
        return len(alive)

    async def _open_one(self) -> Connection | None:
        # Connecting is the connector's public method, but only a request of the session's own class can ask for it.
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            request = aiohttp.ClientRequest("GET", self._base, loop=self._loop, session=self._session)
            async with asyncio.timeout(min(self._timeout, 5.0)):
                return await self._connector.connect(request, [], aiohttp.ClientTimeout())
        return None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


def _fault(code: str, wire: Wire, message: str) -> TransportFault:
    return TransportFault(code, "unwritten" if wire.written_at is None else "written", message)


def _translate(error: Exception, wire: Wire) -> TransportFault:
    """Name what aiohttp ran into; its own texts may hold URLs and are not passed on."""
    if wire.written_at is None and isinstance(error, aiohttp.ClientConnectorDNSError):
        return _fault("dns_failed", wire, "the API's host name could not be resolved")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _fault("tls_failed", wire, f"TLS failed: {_reason(error)}")
    if wire.written_at is None and isinstance(error, aiohttp.ClientConnectorError):
        return _fault("connect_failed", wire, f"no connection to the API: {_reason(error)}")
    if wire.written_at is None:
        return _fault("connect_failed", wire, "the connection broke before the request was written")
    if isinstance(error, aiohttp.ClientPayloadError | EOFError):
        return _fault("answer_cut", wire, "the answer broke off")
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return _fault("answer_unreadable", wire, "the answer is not HTTP")
    return _fault("connection_reset", wire, "the connection broke after the request was written, before an answer")


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message
    if isinstance(inner, ssl.SSLError):
        return (inner.reason or "handshake failed").lower().replace("_", " ")
    if isinstance(inner, OSError) and inner.errno:
        import os

        return os.strerror(inner.errno)
    return type(inner).__name__
