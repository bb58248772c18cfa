"""The transport over aiohttp's connections: its pool, TLS, and parser, without its session.

A session makes a request, a response and some forty headers anew for every job; here the head is bytes that are made
once, and head and body leave in one write, after which the pacer is told. aiohttp says what went wrong by its
exceptions, our own stamp says whether anything was written: together they tell how far a request got. A connection
that the server closes while it is idle is noticed when it is picked, so it costs nothing; one that is closed in the
very moment of our write cannot be told from one that took the request, and counts as written. To make that rare, idle
connections are dropped after `keep_alive` seconds, sooner than servers do. Nothing is ever repeated by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from base64 import b64encode
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from sender.transport import WITHHELD, Reply, Request, TransportFault, Wire
from sender.transport.deadlines import Deadlines
from sender.transport.request_heads import RequestHeads

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

KEEP_ALIVE: Final = 10.0
MOST_ANSWER: Final = 1 << 20
PIECE: Final = 1 << 16
"""Bytes of a body that are written in one go with its head; a larger one follows as the socket takes it."""
BROKEN: Final = (
    aiohttp.ClientError,
    HttpProcessingError,
    aiohttp.EofStream,
    OSError,
    ssl.SSLError,
    ValueError,
    EOFError,
)
UNBOUND: Final = aiohttp.ClientTimeout(total=None, sock_connect=None)
UPGRADE: Final = 101
NO_LINGER: Final = struct.pack("ii", 1, 0)


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
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        base = URL(base_url, encoded=True)
        via = None if proxy is None else URL(proxy)
        self._heads = _heads(base, via, api_key)
        self._timeout = timeout
        self._deadlines = Deadlines(timeout)
        self._connector = aiohttp.TCPConnector(
            limit=connections, keepalive_timeout=keep_alive, ssl=tls if tls is not None else True
        )
        self._session = aiohttp.ClientSession(connector=self._connector, cookie_jar=aiohttp.DummyCookieJar())
        # Connecting is the connector's public method, but only a request of a session can ask for it.
        self._any_request = aiohttp.ClientRequest(
            "GET", base, loop=self._loop, session=self._session, proxy=None if via is None else via.with_user(None),
            # aiohttp puts the Host in by itself, too late: pooled connections are told apart by these headers.
            proxy_headers=CIMultiDict({"Host": base.host_port_subcomponent or "", **_login(via)}),
        )

    async def send(self, request: Request, wire: Wire | None = None) -> Reply:
        """See `Transport.send`."""
        wire = wire or Wire()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._deadlines.begin(task)
        try:
            return await self._exchange(request, wire)
        except asyncio.CancelledError:
            if not self._deadlines.end(task):
                raise
            reach = "before its request was written" if wire.written_at is None else "after its request was written"
            raise _fault("timeout", wire, f"no complete answer in {self._timeout:g} s; {reach}") from None
        except BROKEN as error:
            raise _translate(error, wire) from None
        finally:
            self._deadlines.end(task)

    async def _exchange(self, request: Request, wire: Wire) -> Reply:
        head = self._heads.of(request)
        connection = await self._connect()
        if wire.may_write is not None and not wire.may_write():
            connection.release()
            raise _fault(WITHHELD, wire, "the request was held back before its first byte")
        writing: asyncio.Task[None] | None = None
        try:
            protocol, transport = _ends_of(connection)
            protocol.set_response_params(read_until_eof=True)
            body = request.body or b""
            transport.write(head + body[:PIECE])
            _stamp(wire, self._loop.time())
            if len(body) > PIECE:
                writing = self._loop.create_task(_write_rest(protocol, body))
            reply = await self._read(protocol, wire, request.most_answer or MOST_ANSWER)
        except BaseException:
            _reset(connection)
            raise
        finally:
            if writing is not None:
                writing.cancel()
        if writing is not None and not writing.done():
            connection.close()  # answered before it was all written: the rest would be taken for the next request
        else:
            connection.release()
        return reply

    async def _connect(self) -> Connection:
        """A connection on which nothing waits: what came unasked must not be taken for the answer to what follows."""
        while True:
            connection = await self._connector.connect(self._any_request, [], UNBOUND)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()

    async def _read(self, protocol: ResponseHandler, wire: Wire, most: int) -> Reply:
        message, content = await protocol.read()
        while message.code < 200 and message.code != UPGRADE:  # 100 Continue and the like are no answers yet
            message, content = await protocol.read()
        headers = message.headers
        if int(headers.get("Content-Length") or 0) > most:
            raise _too_large(wire, most)
        body = b""
        while not content.at_eof():
            body += await content.readany()
            if len(body) > most:
                raise _too_large(wire, most)
        assert wire.written_at is not None  # noqa: S101 - it was stamped before the answer was waited for
        return Reply(
            message.code, _content_type(message), body, headers.get("Retry-After"), wire.written_at,
            self._loop.time(), headers.get("Date"),
        )

    async def warm(self, connections: int) -> int:
        """Open idle connections ahead of the first request; failing to is not an error."""
        opened = await asyncio.gather(*(self._open_one() for _ in range(connections)))
        alive = [connection for connection in opened if connection is not None]
        for connection in alive:
            connection.release()
        return len(alive)

    async def _open_one(self) -> Connection | None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(min(self._timeout, 5.0)):
                return await self._connector.connect(self._any_request, [], UNBOUND)
        return None

    async def aclose(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        await self._session.close()


def _heads(base: URL, proxy: URL | None, api_key: Callable[[], str]) -> RequestHeads:
    """Behind a proxy a plain http request names its whole URL, and the login; an https one goes through a tunnel."""
    prefix = base.raw_path.rstrip("/")
    if proxy is None or base.scheme == "https":
        return RequestHeads(base.host_port_subcomponent or "", prefix, api_key)
    more = "".join(f"{name}: {value}\r\n" for name, value in _login(proxy).items())
    return RequestHeads(base.host_port_subcomponent or "", f"{base.origin()}{prefix}", api_key, more)


def _login(proxy: URL | None) -> dict[str, str]:
    if proxy is None or proxy.user is None:
        return {}
    login = b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {login}"}


def _ends_of(connection: Connection) -> tuple[ResponseHandler, asyncio.Transport]:
    """Where its answers come in, and where requests go out."""
    protocol = connection.protocol
    if protocol is None or protocol.transport is None or protocol.transport.is_closing():
        raise aiohttp.ClientConnectionError
    return protocol, protocol.transport


def _reset(connection: Connection) -> None:
    """Close it and drop what the kernel has not sent: after a broken line it would arrive late, all at once."""
    transport = None if connection.protocol is None else connection.protocol.transport
    if transport is not None:
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()
    connection.close()


def _stamp(wire: Wire, now: float) -> None:
    wire.written_at = now
    if wire.on_written is not None:
        wire.on_written()


async def _write_rest(protocol: ResponseHandler, body: bytes) -> None:
    """What follows the first piece, no faster than the socket takes it; whoever reads the answer sees what breaks."""
    view = memoryview(body)
    with contextlib.suppress(OSError, aiohttp.ClientError):
        for start in range(PIECE, len(body), PIECE):
            await protocol._drain_helper()  # noqa: SLF001 - aiohttp's own writer waits with it, too
            if protocol.transport is None:
                return
            protocol.transport.write(view[start : start + PIECE])


def _content_type(message: RawResponseMessage) -> str:
    return message.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _too_large(wire: Wire, most: int) -> TransportFault:
    return _fault("answer_too_large", wire, f"the answer is larger than {most:,} bytes")


def _fault(code: str, wire: Wire, message: str) -> TransportFault:
    return TransportFault(code, "unwritten" if wire.written_at is None else "written", message)


def _translate(error: Exception, wire: Wire) -> TransportFault:
    """Name what aiohttp ran into; its own texts may hold URLs and are not passed on."""
    if wire.written_at is None and isinstance(error, aiohttp.ClientConnectorDNSError):
        return _fault("dns_failed", wire, "the API's host name could not be resolved")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _fault("tls_failed", wire, f"TLS failed: {_reason(error)}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _fault("connect_failed", wire, f"the proxy refuses to connect to the API ({error.status})")
    if wire.written_at is None and isinstance(error, aiohttp.ClientProxyConnectionError):
        return _fault("connect_failed", wire, f"no connection to the proxy: {_reason(error)}")
    if wire.written_at is None and isinstance(error, aiohttp.ClientConnectorError):
        return _fault("connect_failed", wire, f"no connection to the API: {_reason(error)}")
    if wire.written_at is None:
        return _fault("connect_failed", wire, "the connection broke before the request was written")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.EofStream | EOFError):
        return _fault("answer_cut", wire, "the answer broke off")
    if isinstance(error, HttpProcessingError | ValueError):
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
