"""Probes over real sockets: what they say, and that nobody can keep them from saying it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import pytest

from sender.errors import UsageError
from sender.runtime import bounded_server, health_server
from sender.runtime.conditions import Conditions
from sender.runtime.health_server import HealthServer


class Rendered:
    def __init__(self, text: bytes = b"sender_ready 1.0\n") -> None:
        self.text = text
        self.accepted: list[str] = []

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        self.accepted.append(accept)
        return "text/plain; version=0.0.4", self.text


class Broken:
    async def render(self, accept: str = "") -> tuple[str, bytes]:
        raise RuntimeError("redis://user:secret@host")


async def say(port: int, request: bytes, host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
    """The whole answer to these bytes, as they come over the wire until the server hangs up."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split(" ")[1]), headers, body


async def get(port: int, path: str, *, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    return await say(port, f"{method} {path} HTTP/1.1\r\nHost: pod\r\n\r\n".encode())


def port_of(server: HealthServer) -> int:
    return server.addresses[0][1]


@pytest.fixture
def conditions() -> Conditions:
    return Conditions("state", "queue")


async def test_alive_from_the_first_moment_and_ready_only_when_all_is_met(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    port = port_of(server)
    assert (await get(port, "/livez"))[::2] == (200, b"ok\n")
    status, _, body = await get(port, "/readyz")
    assert status == 503
    assert json.loads(body)["conditions"]["queue"] == {"met": False, "reason": "not yet known"}
    conditions.meet("queue")
    assert (await get(port, "/readyz"))[0] == 503
    conditions.meet("state")
    status, headers, body = await get(port, "/readyz?verbose")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"ready": True, "conditions": {"state": {"met": True}, "queue": {"met": True}}}
    conditions.miss("draining", "a signal asked for the end")
    status, _, body = await get(port, "/readyz")
    assert status == 503
    assert json.loads(body)["conditions"]["draining"]["reason"] == "a signal asked for the end"
    assert (await get(port, "/livez"))[0] == 200, "what drains is alive"
    conditions.drop("draining")
    assert conditions.ready
    await server.aclose()


async def test_a_reason_shows_no_password(conditions: Conditions) -> None:
    conditions.miss("state", "redis://user:hunter2@redis:6379/0 does not answer")
    assert b"hunter2" not in conditions.report()


def test_a_watched_part_is_looked_at_when_asked() -> None:
    alive: list[str | None] = [None]

    def check() -> str | None:
        return alive[0]

    conditions = Conditions("lanes")
    conditions.meet("lanes")
    conditions.watch("queue", check)
    assert conditions.met() == {"lanes": True, "queue": True}
    alive[0] = "amqp://user:hunter2@rabbit does not answer"
    assert not conditions.ready
    assert b"hunter2" not in conditions.report()
    alive.clear()
    assert json.loads(conditions.report())["conditions"]["queue"] == {
        "met": False, "reason": "it cannot be told: IndexError",
    }
    conditions.drop("queue")
    assert conditions.ready


async def test_head_tells_the_length_of_what_get_gives(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1", metrics=Rendered())
    for path in ("/livez", "/readyz", "/metrics", "/nowhere"):
        status, headers, body = await get(port_of(server), path)
        assert int(headers["content-length"]) == len(body)
        head = await get(port_of(server), path, method="HEAD")
        assert (head[0], head[2]) == (status, b"")
        assert head[1]["content-length"] == headers["content-length"]
        assert headers["connection"] == "close"
    await server.aclose()


async def test_metrics_get_the_accept_header_and_are_absent_where_nobody_renders(conditions: Conditions) -> None:
    rendered = Rendered()
    server = await HealthServer.open(conditions, 0, "127.0.0.1", metrics=rendered)
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\naccept:  application/openmetrics-text; version=1.0.0\r\n\r\n"
    status, headers, body = await say(port_of(server), request)
    assert (status, body) == (200, rendered.text)
    assert headers["content-type"] == "text/plain; version=0.0.4"
    assert rendered.accepted == ["application/openmetrics-text; version=1.0.0"]
    await server.aclose()
    bare = await HealthServer.open(conditions, 0, "127.0.0.1")
    assert (await get(port_of(bare), "/metrics"))[0] == 404
    await bare.aclose()


async def test_what_cannot_be_rendered_is_a_500_without_its_reason(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1", metrics=Broken())
    status, _, body = await get(port_of(server), "/metrics")
    assert status == 500
    assert b"secret" not in body
    assert (await get(port_of(server), "/livez"))[0] == 200
    await server.aclose()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /livez/../metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://other/livez HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
async def test_requests_that_are_not_what_they_should_be(
    request_bytes: bytes, status: int, conditions: Conditions
) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    answer = await say(port_of(server), request_bytes)
    assert answer[0] == status
    assert int(answer[1]["content-length"]) == len(answer[2])
    assert ("allow" in answer[1]) == (status == 405)
    await server.aclose()


async def test_a_client_that_dawdles_is_let_go(conditions: Conditions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_server, "WITHIN", 0.1)
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await server.aclose()


async def test_those_who_hold_connections_do_not_keep_the_probe_out(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    port = port_of(server)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(health_server.MOST_CONNECTIONS * 2)]
    for _, writer in held:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
    assert (await get(port_of(server), "/livez"))[0] == 200
    assert len(server.connections) <= health_server.MOST_CONNECTIONS
    for _, writer in held:
        writer.close()
    await server.aclose()


async def test_a_rush_is_answered_or_let_go_and_leaves_nothing_open(conditions: Conditions) -> None:
    """All in one turn of the loop, so that many are sent away before anyone has looked at them."""
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    rush = health_server.MOST_CONNECTIONS * 2
    clients = [socket.create_connection(server.addresses[0]) for _ in range(rush)]  # the loop sees none of them yet
    for client in clients:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = await asyncio.gather(*(asyncio.to_thread(read_all, client) for client in clients))
    assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 200", b""}
    assert answers.count(b"") <= rush - health_server.MOST_CONNECTIONS
    async with asyncio.timeout(10):
        while server.connections:
            await asyncio.sleep(0.005)
    await server.aclose()


def read_all(client: socket.socket) -> bytes:
    found = b""
    with client, contextlib.suppress(ConnectionResetError):
        client.settimeout(10)
        while data := client.recv(4096):
            found += data
    return found


async def test_a_client_that_hangs_up_disturbs_nobody(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    for data in (b"", b"GET", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(data)
        writer.transport.abort()
    assert (await get(port_of(server), "/livez"))[0] == 200
    await server.aclose()


async def test_closing_lets_go_of_open_connections(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(b"GET /li")
    while not server.connections:
        await asyncio.sleep(0.005)
    await asyncio.wait_for(server.aclose(), 5)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_listens_on_ipv4_and_ipv6(conditions: Conditions) -> None:
    server = await HealthServer.open(conditions, 0, "127.0.0.1,[::1]")
    answers = [(await say(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", host))[0] for host, port in server.addresses]
    assert answers == [200, 200]
    await server.aclose()


async def test_a_port_in_use_is_a_usage_error_that_names_it(conditions: Conditions) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"--health-port: .*127.0.0.1 port {port}"):
            await HealthServer.open(conditions, port, "127.0.0.1")


@pytest.mark.parametrize(("port", "host"), [(70000, "127.0.0.1"), (0, "not an address"), (0, "192.0.2.1")])
async def test_a_place_that_cannot_be_is_a_usage_error(port: int, host: str, conditions: Conditions) -> None:
    with pytest.raises(UsageError, match="--health-port"):
        await HealthServer.open(conditions, port, host)


def test_a_loop_that_is_stuck_lets_the_probe_time_out() -> None:
    stuck, release, opened, done = (threading.Event() for _ in range(4))
    ports: list[int] = []

    async def serve() -> None:
        server = await HealthServer.open(Conditions(), 0, "127.0.0.1")
        ports.append(port_of(server))
        opened.set()
        while not stuck.is_set():
            await asyncio.sleep(0.01)
        release.wait(30)  # what a loop must never do
        while not done.is_set():
            await asyncio.sleep(0.01)
        await server.aclose()

    def probe(seconds: float) -> bytes:
        with socket.create_connection(("127.0.0.1", ports[0]), seconds) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            return connection.recv(12)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert opened.wait(10)
        assert probe(10) == b"HTTP/1.1 200"
        stuck.set()
        with pytest.raises(TimeoutError):
            while True:  # the loop may have answered one more before it got stuck
                probe(0.5)
        release.set()
        assert probe(10) == b"HTTP/1.1 200"
    finally:
        for event in (stuck, release, done):
            event.set()
        thread.join(10)
