"""A real proxy between sender and the API, a tunnel for https, and a host with two addresses of which one is dead."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from sender.errors import UsageError
from sender.transport import Request, TransportFault
from sender.transport.http_transport import HttpTransport
from sender.transport.proxy import proxy_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POST = Request("POST", "/v1/send/email", b"{}")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An API that takes everything; keeps the connection."""
    while await head_of(reader):
        await reader.readexactly(2)
        writer.write(ANSWER)
    writer.close()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


class Proxy:
    """Keeps the heads that it saw; passes on what comes through a tunnel, and answers plain requests itself."""

    def __init__(self, refuses: bytes = b"") -> None:
        self.heads: list[bytes] = []
        self.refuses = refuses
        self.target = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await head_of(reader):
            self.heads.append(head)
            if self.refuses:
                writer.write(self.refuses)
                break
            if not head.startswith(b"CONNECT"):
                await reader.readexactly(2)
                writer.write(ANSWER)
                continue
            inner = await asyncio.open_connection("127.0.0.1", self.target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))
            return
        writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def served(handler: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_plain_request_names_its_whole_url_and_the_login() -> None:
    proxy = Proxy()
    async with served(proxy.serve) as port:
        transport = HttpTransport("http://api.test:8080/base", lambda: "key", proxy=f"http://ada:s%40x@127.0.0.1:{port}")
        assert (await transport.send(POST)).status == 200
        await transport.aclose()
    assert proxy.heads[0].startswith(b"POST http://api.test:8080/base/v1/send/email HTTP/1.1\r\n")
    assert b"\r\nHost: api.test:8080\r\n" in proxy.heads[0]
    assert b"Proxy-Authorization: Basic YWRhOnNAeA==\r\n" in proxy.heads[0]


async def test_https_goes_through_a_tunnel_that_does_not_see_the_key() -> None:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    proxy = Proxy()
    async with served(answer, server) as proxy.target, served(proxy.serve) as port:
        transport = HttpTransport(
            f"https://localhost:{proxy.target}", lambda: "key", tls=client, proxy=f"http://ada:pw@127.0.0.1:{port}"
        )
        assert [(await transport.send(POST)).status for _ in range(3)] == [200] * 3
        await transport.aclose()
    assert len(proxy.heads) == 1, "the tunnel is kept and used again"
    assert proxy.heads[0].startswith(b"CONNECT localhost:%d" % proxy.target)
    assert b"Proxy-Authorization: Basic YWRhOnB3" in proxy.heads[0]
    assert b"Bearer" not in proxy.heads[0]


async def test_a_proxy_that_refuses_and_one_that_is_away_are_told_and_safe() -> None:
    proxy = Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    async with served(proxy.serve) as port:
        transport = HttpTransport("https://api.test", lambda: "key", proxy=f"http://u:secret@127.0.0.1:{port}")
        with pytest.raises(TransportFault, match=r"the proxy refuses to connect to the API \(407\)") as refused:
            await transport.send(POST)
        await transport.aclose()
    transport = HttpTransport("https://api.test", lambda: "key", proxy=f"http://u:secret@127.0.0.1:{port}")
    with pytest.raises(TransportFault, match="no connection to the proxy") as away:
        await transport.send(POST)
    await transport.aclose()
    for fault in (refused.value, away.value):
        assert (fault.code, fault.reach) == ("connect_failed", "unwritten")
        assert "secret" not in fault.message


async def test_a_host_whose_first_address_is_dead_is_reached_by_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 that leads nowhere must not cost the timeout of every attempt."""
    async with served(answer) as port:
        transport = HttpTransport(f"http://api.test:{port}", lambda: "key", timeout=5)

        async def resolve(host: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
            ends = (("100::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET))
            return [{"hostname": host, "host": at, "port": port, "family": family, "proto": 6, "flags": 0}
                    for at, family in ends]

        monkeypatch.setattr(transport._connector, "_resolve_host", resolve)
        async with asyncio.timeout(4):
            assert (await transport.send(POST)).status == 200
        await transport.aclose()


def test_the_environment_decides_unless_the_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    api = "https://api.customer.io"
    assert proxy_for(api) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert proxy_for(api) == "http://proxy:3128"
    assert proxy_for("http://127.0.0.1:8025") is None
    assert proxy_for("https://localhost:8025") is None
    assert proxy_for(api, "http://other:1") == "http://other:1"
    assert proxy_for(api, "none") is None
    monkeypatch.setenv("NO_PROXY", "example.com,.customer.io")
    assert proxy_for(api) is None
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert proxy_for(api) == "http://proxy:3128"
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("all_proxy", "proxy:8080")
    assert proxy_for(api) == "http://proxy:8080"


@pytest.mark.parametrize("url", ["socks5://proxy:1", "proxy", "http://u:topsecret@", "http://[x"])
def test_what_is_no_http_proxy_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="--proxy") as caught:
        proxy_for("https://api.customer.io", url)
    assert "topsecret" not in str(caught.value)
