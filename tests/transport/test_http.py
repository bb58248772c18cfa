"""Every way in which a request can fail, on a real socket, and how far it is said to have got."""

from __future__ import annotations

import asyncio
import gzip
import socket
import socketserver
import ssl
import struct
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from sender.errors import UsageError
from sender.runtime.loop import _loop_factory
from sender.transport import WITHHELD, Reply, Request, TransportFault, Wire
from sender.transport.base_url import check_base_url
from sender.transport.http_transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sender.transport.exchange import Exchange

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

POST = Request("POST", "/v1/send/email", b'{"to":"a"}')
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}"


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    return head, await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def serving(handler: Handler, **transport: object) -> AsyncIterator[HttpTransport]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = HttpTransport(f"http://127.0.0.1:{port}", lambda: "key", **transport)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.aclose()
        server.close()
        await asyncio.sleep(0)


def answering(answer: bytes, *, close: bool = False) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    return handler


async def fault_of(handler: Handler, request: Request = POST, **transport: object) -> TransportFault:
    async with serving(handler, **transport) as client:
        with pytest.raises(TransportFault) as caught:
            await client.send(request)
        return caught.value


async def test_the_request_and_its_instants() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            await asyncio.sleep(0.05)
            writer.write(OK)

    async with serving(handler) as client:
        for request in (POST, Request("GET", "/v1/customers/a%2Bb/messages?id_type=email")):
            told: list[float] = []
            wire = Wire(on_written=lambda told=told: told.append(asyncio.get_running_loop().time()))  # type: ignore[misc]
            before = asyncio.get_running_loop().time()
            reply = await client.send(request, wire)
            assert reply.status == 200
            assert reply.content_type == "application/json"
            assert len(told) == 1
            assert before <= reply.written_at == wire.written_at <= told[0] < reply.answered_at - 0.03
    post, get = seen
    assert post[0].startswith(b"POST /v1/send/email HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer key\r\n" in post[0]
    assert b"\r\nContent-Type: application/json\r\n" in post[0]
    assert post[1] == POST.body
    assert get[0].startswith(b"GET /v1/customers/a%2Bb/messages?id_type=email HTTP/1.1\r\n")


async def test_the_key_is_read_at_each_request() -> None:
    keys = ["first", "second"]
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append((await read_request(reader))[0])
            writer.write(OK)

    async with serving(handler) as client:
        client._heads._api_key = lambda: keys[len(heads)]
        await client.send(POST)
        await client.send(POST)
    assert [key.encode() in head for key, head in zip(keys, heads, strict=True)] == [True, True]


async def test_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = HttpTransport(f"http://127.0.0.1:{unused.getsockname()[1]}", lambda: "key")
        with pytest.raises(TransportFault) as caught:
            await client.send(POST)
        await client.aclose()
    assert (caught.value.code, caught.value.reach) == ("connect_failed", "unwritten")


async def test_a_process_that_stood_still_while_it_connected_writes_no_request_that_it_waits_for_no_longer() -> None:
    """It was written after its time, given up a millisecond later, and the job was in doubt."""
    seen: list[tuple[bytes, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)

    async with serving(handler, timeout=0.2) as client:
        sending = asyncio.create_task(client.send(POST))
        await asyncio.sleep(0)
        time.sleep(0.3)
        with pytest.raises(TransportFault) as caught:
            await sending
        assert (caught.value.code, caught.value.reach) == ("timeout", "unwritten")
        assert (await client.send(POST)).status == 200
    assert len(seen) == 1


async def test_unknown_host() -> None:
    client = HttpTransport("http://host.invalid", lambda: "key")
    with pytest.raises(TransportFault) as caught:
        await client.send(POST)
    await client.aclose()
    assert (caught.value.code, caught.value.reach) == ("dns_failed", "unwritten")


async def test_untrusted_certificate_and_then_a_trusted_one() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = await asyncio.start_server(answering(OK), "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    client = HttpTransport(url, lambda: "key")
    with pytest.raises(TransportFault) as caught:
        await client.send(POST)
    await client.aclose()
    assert (caught.value.code, caught.value.reach) == ("tls_failed", "unwritten")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    client = HttpTransport(url, lambda: "key", tls=trusting)
    assert await client.warm(3) == 3
    assert (await client.send(POST)).status == 200
    await client.aclose()
    server.close()
    await asyncio.sleep(0.01)


async def test_reset_before_the_request_was_read() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    fault = await fault_of(handler)
    assert (fault.code, fault.reach) == ("connection_reset", "written")


async def test_reset_after_the_body() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reset(writer)

    fault = await fault_of(handler)
    assert (fault.code, fault.reach) == ("connection_reset", "written")


async def test_half_written_large_body() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        reset(writer)

    fault = await fault_of(handler, Request("POST", "/x", b" " * 20_000_000))
    assert fault.reach == "written"
    assert fault.code == "connection_reset"


async def test_large_body_arrives_whole() -> None:
    sizes: list[int] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sizes.append(len((await read_request(reader))[1]))
        writer.write(OK)

    async with serving(handler) as client:
        await client.send(Request("POST", "/x", b"x" * 5_000_001))
    assert sizes == [5_000_001]


async def test_hang() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    fault = await fault_of(handler, timeout=0.2)
    assert (fault.code, fault.reach) == ("timeout", "written")


async def test_cut_answer() -> None:
    cut = b'HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{"delivery'
    fault = await fault_of(answering(cut, close=True))
    assert (fault.code, fault.reach) == ("answer_cut", "written")


async def test_garbage_answer() -> None:
    fault = await fault_of(answering(b"\x00\xff not http at all\r\n\r\n", close=True))
    assert (fault.code, fault.reach) == ("answer_unreadable", "written")


@pytest.mark.parametrize("encoded", [True, False])
async def test_answer_too_large(encoded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.transport.http_transport.MOST_ANSWER", 50_000)
    body = b"x" * 100_000
    head = b"HTTP/1.1 200 OK\r\n"
    if encoded:
        body = gzip.compress(body)
        head += b"Content-Encoding: gzip\r\n"
    fault = await fault_of(answering(head + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    assert (fault.code, fault.reach) == ("answer_too_large", "written")


async def test_gzip_and_chunked_answers() -> None:
    body = gzip.compress(b'{"delivery_id":"d"}')
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with serving(answering(answer)) as client:
        reply = await client.send(POST)
    assert reply.body == b'{"delivery_id":"d"}'
    assert reply.content_type == ""


async def test_bad_gzip() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"
    fault = await fault_of(answering(answer))
    assert (fault.code, fault.reach) == ("answer_unreadable", "written") or fault.code == "answer_cut"


async def test_redirect_is_not_followed() -> None:
    async with serving(answering(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")) as client:
        assert (await client.send(POST)).status == 302


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_nothing_is_repeated_on_a_dropped_connection(method: str) -> None:
    """aiohttp would repeat GET and PUT when a reused connection breaks."""
    requests = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(OK)
        await writer.drain()
        await read_request(reader)
        requests += 1
        reset(writer)

    async with serving(handler) as client:
        request = Request(method, "/v1/x", None if method == "GET" else b"{}")
        await client.send(request)
        with pytest.raises(TransportFault) as caught:
            await client.send(request)
    assert requests == 2
    assert caught.value.reach == "written"


async def test_connection_closed_while_idle_costs_nothing() -> None:
    async with serving(answering(OK, close=True)) as client:
        for _ in range(5):
            assert (await client.send(POST)).status == 200
            await asyncio.sleep(0.02)


async def test_an_early_answer_ends_the_rest_of_the_body() -> None:
    """The connection is not used again: what is left of the body would be read as the next request."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK if connections > 1 else OK.replace(b"200 OK", b"413 Too Large"))
        await reader.read()

    async with serving(handler) as client:
        assert (await client.send(Request("POST", "/x", b" " * 20_000_000))).status == 413
        assert (await client.send(POST)).status == 200
    assert connections == 2


async def test_what_came_unasked_is_no_answer() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.write(OK.replace(b"200 OK", b"500 Not Asked"))
        await answering(OK)(reader, writer)

    async with serving(handler) as client:
        for _ in range(3):
            assert (await client.send(POST)).status == 200
            await asyncio.sleep(0.05)


async def test_interim_answers_are_passed_over() -> None:
    async with serving(answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + OK)) as client:
        assert (await client.send(POST)).status == 200


async def test_warm_connections_are_used() -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(OK)(reader, writer)

    async with serving(handler) as client:
        assert await client.warm(4) == 4
        await asyncio.gather(*(client.send(POST) for _ in range(4)))
        await asyncio.sleep(0.01)
        assert connections == 4


async def test_cancelled_before_and_after_the_write() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as client:
        wire = Wire()
        task = asyncio.create_task(client.send(POST, wire))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert wire.written_at is not None


async def test_who_is_cancelled_as_well_as_late_stays_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    started: list[Exchange] = []

    def start(client: HttpTransport, *request: Any, start: Any = HttpTransport.start) -> Exchange:
        started.append(start(client, *request))
        return started[-1]

    monkeypatch.setattr(HttpTransport, "start", start)
    async with serving(handler) as client:
        task = asyncio.create_task(client.send(POST))
        await asyncio.sleep(0.1)
        started[0].expire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("warm", [0, 4])
@pytest.mark.parametrize(("request_", "wire", "told"), [
    (POST, Wire(), Reply),
    (POST, Wire(may_write=lambda: False), WITHHELD),
    (Request("POST", "/a b", b"{}"), Wire(), "connect_failed"),
])
async def test_what_came_of_a_request_is_told_once_and_not_at_once(
    warm: int, request_: Request, wire: Wire, told: object
) -> None:
    async with serving(answering(OK)) as client:
        await client.warm(warm)
        ends: list[Reply | BaseException] = []
        client.start(request_, wire, ends.append)
        given_up = client.start(request_, Wire(may_write=wire.may_write), ends.append)
        assert ends == [], "who starts a request is not told before it has what it started"
        given_up.give_up()
        await asyncio.sleep(0.1)
        (end,) = ends
        assert isinstance(end, Reply) if told is Reply else isinstance(end, TransportFault) and end.code == told


async def test_what_breaks_while_a_connection_is_waited_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering(OK)) as client:
        monkeypatch.setattr(client._pool, "_connect", None)
        with pytest.raises(TypeError):
            await client.send(POST)


async def test_a_request_that_may_not_be_written_any_more() -> None:
    """It is asked on the open connection, which stays good for the next."""
    requests: list[bytes] = []
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            requests.append((await read_request(reader))[1])
            writer.write(OK)

    async with serving(handler) as client:
        wire = Wire(may_write=lambda: False)
        with pytest.raises(TransportFault) as caught:
            await client.send(POST, wire)
        assert (caught.value.code, caught.value.reach, wire.written_at) == (WITHHELD, "unwritten", None)
        assert (await client.send(POST, Wire(may_write=lambda: True))).status == 200
    assert (requests, connections) == ([POST.body], 1)


class Answering(socketserver.BaseRequestHandler):
    """Answers from a thread of its own, whatever the loop of the client does."""

    def handle(self) -> None:
        while self.request.recv(65536):
            self.request.sendall(OK.replace(b"Length: 2\r\n\r\n{}", b"Length: 9000\r\n\r\n" + b" " * 9000))


class AnsweringServer(socketserver.ThreadingTCPServer):
    request_queue_size = 100
    daemon_threads = True


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_answers_that_came_while_the_process_stood_still(loops: str) -> None:
    """They lay in the sockets of a stopped process for longer than the timeout, and 41 jobs ended in doubt."""

    async def body(port: int) -> list[int]:
        client = HttpTransport(f"http://127.0.0.1:{port}", lambda: "key", timeout=1.0)
        sending: list[asyncio.Task[Reply]] = []
        try:
            opened = 0
            while opened < 41:  # a busy machine may take longer than the timeout for some
                opened += await client.warm(41 - opened)
            wires = [Wire() for _ in range(41)]
            sending += [asyncio.create_task(client.send(POST, wire)) for wire in wires]
            while not all(wire.written_at for wire in wires):
                await asyncio.sleep(0)
            time.sleep(1.5)  # the process stands still
            return [(await one).status for one in sending]
        finally:
            await asyncio.gather(*sending, return_exceptions=True)
            await client.aclose()

    if loops == "uvloop":
        pytest.importorskip("uvloop")
    with AnsweringServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            with asyncio.Runner(loop_factory=_loop_factory() if loops == "uvloop" else None) as runner:
                assert runner.run(body(server.server_address[1])) == [200] * 41
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "https://",
        "https://user:pw@host",
        "http://example.com",
        "https://h/?a=1",
        "https://h:99999",
        "https://key:pw",
        "x",
    ],
)
def test_base_urls_that_get_no_key(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_base_url(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://h/", "http://127.0.0.1:8025", "http://[::1]:1", "http://localhost"])
def test_base_urls_that_are_fine(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")
    assert check_base_url("http://example.com", allow_http=True)


async def test_what_the_kernel_has_not_sent_at_the_timeout_is_dropped() -> None:
    """After a cut line of 15 s the bodies of requests long given up arrived all at once: 137 in one second."""
    body = b"x" * 900_000
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: "key", timeout=0.5)
        with pytest.raises(TransportFault, match="no complete answer"):
            await client.send(Request("POST", "/v1/send/email", body))
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            got, was_reset = await asyncio.to_thread(read_all, server)
        await client.aclose()
    assert was_reset
    assert got < len(body)


def read_all(server: socket.socket) -> tuple[int, bool]:
    """Bytes that came, and whether a reset was their end."""
    got = 0
    try:
        while data := server.recv(1 << 16):
            got += len(data)
    except ConnectionResetError:
        return got, True
    return got, False
