"""The transport: aiohttp's connector opens connections, and the wire carries requests over them.

Finding the host, connecting, TLS and proxies are aiohttp's; what is open is taken over (docs/wire.md). aiohttp says by
its exceptions why there is no connection, the wire what became of an answer, and our own stamp whether anything was
written: together they tell how far a request got. A connection that the server closes while it is idle is noticed when
it is picked, so it costs nothing; one that is closed in the very moment of our write cannot be told from one that took
the request, and counts as written. To make that rare, idle connections are dropped after `keep_alive` seconds, sooner
than servers do. Nothing is ever repeated by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from sender.runtime.tasks import start_told
from sender.transport import WITHHELD, Wire
from sender.transport.deadlines import Deadlines
from sender.transport.exchange import Exchange, fault
from sender.transport.request_heads import RequestHeads
from sender.transport.wire.connection import WireConnection
from sender.transport.wire.pool import ConnectionPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.connector import Connection

    from sender.transport import OnEnd, Reply, Request, TransportFault

KEEP_ALIVE: Final = 10.0
MOST_ANSWER: Final = 1 << 20
NO_CONNECTION: Final = (aiohttp.ClientError, OSError, ValueError, EOFError)
UNBOUND: Final = aiohttp.ClientTimeout(total=None, sock_connect=None)


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
        self._pool = ConnectionPool(self._connect, connections, keep_alive)
        self._connector = aiohttp.TCPConnector(limit=0, ssl=tls if tls is not None else True)
        self._session = aiohttp.ClientSession(connector=self._connector, cookie_jar=aiohttp.DummyCookieJar())
        # Connecting is the connector's public method, but only a request of a session can ask for it.
        self._any_request = aiohttp.ClientRequest(
            "GET", base, loop=self._loop, session=self._session, proxy=None if via is None else via.with_user(None),
            # aiohttp puts the Host in by itself, too late: pooled connections are told apart by these headers.
            proxy_headers=CIMultiDict({"Host": base.host_port_subcomponent or "", **_login(via)}),
        )

    async def send(self, request: Request, wire: Wire | None = None) -> Reply:
        """See `Transport.send`."""
        answered: asyncio.Future[Reply | BaseException] = self._loop.create_future()
        exchange = self.start(request, wire or Wire(), partial(_deliver, answered))
        try:
            answer = await answered
        except asyncio.CancelledError:
            exchange.give_up()
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def start(self, request: Request, wire: Wire, on_end: OnEnd) -> Exchange:
        """See `Transport.start`."""
        exchange = Exchange(wire, on_end, self._deadlines)
        try:
            head = self._heads.of(request)
            connection = self._pool.pick()
            if connection is None:
                exchange.opening = start_told(self._open_for(exchange, head, request), "connection", exchange.end)
            else:
                self._write(exchange, connection, head, request)
        except NO_CONNECTION as error:
            self._loop.call_soon(exchange.end, _translate(error, wire))
        except BaseException:
            exchange.give_up()
            raise
        return exchange

    async def _open_for(self, exchange: Exchange, head: bytes, request: Request) -> None:
        try:
            connection = await self._pool.acquire()
            if self._loop.time() < exchange.due:
                self._write(exchange, connection, head, request)
                return
            self._pool.free(connection)  # the process stood still: nobody would wait for the answer
            said = f"no connection in {self._timeout:g} s; its request was not written"
            exchange.end(fault("timeout", exchange.wire, said))
        except NO_CONNECTION as error:
            exchange.end(_translate(error, exchange.wire))

    def _write(self, exchange: Exchange, connection: WireConnection, head: bytes, request: Request) -> None:
        wire = exchange.wire
        if wire.may_write is None or wire.may_write():
            exchange.write(connection, head, request.body or b"", request.most_answer or MOST_ANSWER)
            return
        self._pool.free(connection)
        withheld = fault(WITHHELD, wire, "the request was held back before its first byte")
        self._loop.call_soon(exchange.end, withheld)

    async def _connect(self) -> WireConnection:
        """A connection on which nothing waits: what came unasked must not be taken for the answer to what follows."""
        while True:
            link = await self._connector.connect(self._any_request, [], UNBOUND)
            if link.protocol is None or link.transport is None or link.transport.is_closing():
                link.close()
                raise aiohttp.ClientConnectionError
            if not link.protocol.should_close:
                return WireConnection(_released(link), self._pool.free, self._pool.lost)
            link.close()

    async def warm(self, connections: int) -> int:
        """Open idle connections ahead of the first request; failing to is not an error."""
        opened = await asyncio.gather(*(self._open_one() for _ in range(connections)))
        alive = [connection for connection in opened if connection is not None]
        for connection in alive:
            self._pool.free(connection)
        return len(alive)

    async def _open_one(self) -> WireConnection | None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(min(self._timeout, 5.0)):
                return await self._pool.open()
        return None

    async def aclose(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        await self._pool.aclose()
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


def _released(link: Connection) -> asyncio.Transport:
    """The connection's transport, which is none of aiohttp's business any more: to aiohttp it is lost."""
    protocol, transport = link.protocol, link.transport
    assert protocol is not None and transport is not None  # noqa: S101, PT018 - looked at by the caller
    protocol.connection_lost(None)
    link.close()
    return transport


def _deliver(answered: asyncio.Future[Reply | BaseException], answer: Reply | BaseException) -> None:
    if not answered.done():
        answered.set_result(answer)


def _translate(error: Exception, wire: Wire) -> TransportFault:
    """Name why there is no connection; aiohttp's own texts may hold URLs and are not passed on."""
    code, said = "connect_failed", "the connection broke before the request was written"
    if wire.written_at is not None:
        code, said = "connection_reset", "the connection broke after the request was written, before an answer"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        code, said = "dns_failed", "the API's host name could not be resolved"
    elif isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        code, said = "tls_failed", f"TLS failed: {_reason(error)}"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        said = f"the proxy refuses to connect to the API ({error.status})"
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        said = f"no connection to the proxy: {_reason(error)}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        said = f"no connection to the API: {_reason(error)}"
    return fault(code, wire, said)


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
