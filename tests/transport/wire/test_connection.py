"""A connection on a real socket: early closes, unasked bytes, large bodies, and giving up."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sender.runtime.loop import _loop_factory
from sender.transport import Reply
from sender.transport.wire.answer_reader import AnswerFault
from sender.transport.wire.connection import PIECE, WireConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

HEAD = b"POST / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[None, None, None]], None]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    def on_loop(body: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=_loop_factory() if request.param == "uvloop" else None) as runner:
            runner.run(body)

    return on_loop


class Peer:
    """The other end, by hand, and what the connection told."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self._ours = ours
        self.socket = theirs
        self.free: list[WireConnection] = []
        self.lost: list[WireConnection] = []
        self.ends: list[Reply | AnswerFault] = []

    async def connect(self) -> WireConnection:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=self._ours)
        return WireConnection(transport, self.free.append, self.lost.append)

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20)
        return data

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peer, WireConnection]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        peer = Peer(ours, theirs)
        connection = await peer.connect()
        try:
            yield peer, connection
        finally:
            connection.reset()
            await peer.until(lambda: peer.lost)
    assert peer.lost == [connection], "told once"


def test_one_request_after_another(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            for number in range(1, 4):
                before = asyncio.get_running_loop().time()
                connection.request(HEAD, b"body", 100, peer.ends.append)
                assert await peer.read(len(HEAD) + 4) == HEAD + b"body"
                await peer.say(OK[:9])
                await asyncio.sleep(0.01)
                assert len(peer.ends) == len(peer.free) == number - 1
                await peer.say(OK[9:])
                await peer.until(lambda number=number: len(peer.ends) == number)  # type: ignore[misc]
                assert peer.free == [connection] * number
                answer = peer.ends[-1]
                assert isinstance(answer, Reply)
                assert before <= answer.written_at == connection.written_at < answer.answered_at
                assert answer.answered_at == connection.idle_since

    run(body())


@pytest.mark.parametrize("said", [b"HTTP/1.1 500 Not Asked\r\nContent-Length: 0\r\n\r\n", b"x"])
def test_what_comes_unasked_ends_it(run: Callable[[Coroutine[None, None, None]], None], said: bytes) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            await peer.say(said)
            await peer.until(lambda: not connection.usable)
            assert not peer.free

    run(body())


def test_what_comes_right_behind_an_answer_ends_it_and_the_answer_holds(
    run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            connection.request(HEAD, b"", 100, peer.ends.append)
            await peer.say(OK + b"HTTP/1.1 500 Not Asked\r\nContent-Length: 0\r\n\r\n")
            await peer.until(lambda: peer.ends)
            assert [answer.status for answer in peer.ends if isinstance(answer, Reply)] == [200]
            assert not connection.usable
            assert not peer.free

    run(body())


@pytest.mark.parametrize(
    ("said", "code"), [(b"", "connection_reset"), (OK[:5], "connection_reset"), (OK[:-1], "answer_cut")]
)
def test_an_early_close(run: Callable[[Coroutine[None, None, None]], None], said: bytes, code: str) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            connection.request(HEAD, b"", 100, peer.ends.append)
            await peer.say(said)
            peer.socket.shutdown(socket.SHUT_WR)
            await peer.until(lambda: peer.ends)
            assert [answer.code for answer in peer.ends if isinstance(answer, AnswerFault)] == [code]
            assert not connection.usable

    run(body())


def test_an_answer_as_long_as_its_connection(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            connection.request(HEAD, b"", 100, peer.ends.append)
            await peer.say(b"HTTP/1.1 200 OK\r\n\r\n{")
            await peer.say(b"}")
            peer.socket.shutdown(socket.SHUT_WR)
            await peer.until(lambda: peer.ends)
            assert [answer.body for answer in peer.ends if isinstance(answer, Reply)] == [b"{}"]

    run(body())


def test_a_large_body_goes_no_faster_than_it_is_taken(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            large = bytes(range(256)) * (100 * PIECE // 256) + b"end"
            connection.request(HEAD, large, 100, peer.ends.append)
            await asyncio.sleep(0.05)
            assert connection._transport.get_write_buffer_size() <= 4 * PIECE
            assert await peer.read(len(HEAD) + len(large)) == HEAD + large
            await peer.say(OK)
            await peer.until(lambda: peer.ends)
            assert peer.free == [connection]

    run(body())


def test_given_up_it_is_dropped_and_an_answer_that_came_is_not(
    run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def body() -> None:
        async with connected() as (peer, connection):
            first, second = peer.ends.append, [].append
            connection.request(HEAD, b"", 100, first)
            await peer.say(OK)
            await peer.until(lambda: peer.free)
            connection.request(HEAD, b"", 100, second)
            connection.give_up(first)
            assert connection.usable, "the answer to the first has come, and the second is another's"
            connection.give_up(second)
            assert not connection.usable
            await peer.until(lambda: peer.lost)
            assert len(peer.ends) == 1
            with pytest.raises(ConnectionResetError):
                while await peer.read(1):
                    pass

    run(body())
