"""The heads of requests, and the deadlines that all requests share."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from sender.transport import Request
from sender.transport.deadlines import Deadlines
from sender.transport.request_heads import RequestHeads
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop


def test_a_head_names_what_follows() -> None:
    heads = RequestHeads("api.example:81", "/base", lambda: "key")
    head = heads.of(Request("PUT", "/v1/x?a=%20", b"{}"))
    assert head.startswith(b"PUT /base/v1/x?a=%20 HTTP/1.1\r\nHost: api.example:81\r\nAuthorization: Bearer key\r\n")
    assert head.endswith(b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n")
    assert b"Content-" not in heads.of(Request("GET", "/v1/x"))


def test_a_new_key_is_in_the_next_head() -> None:
    keys = iter(("one", "two"))
    heads = RequestHeads("h", "", lambda: next(keys))
    assert b"Bearer one\r\n" in heads.of(Request("GET", "/"))
    assert b"Bearer two\r\n" in heads.of(Request("GET", "/"))


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "x", "/\u00e9", "/a\n"])
def test_nothing_breaks_out_of_a_head(path: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a request"):
        RequestHeads("h", "", lambda: "key").of(Request("GET", path))
    with pytest.raises(ValueError, match="cannot stand in a request"):
        RequestHeads("h", "", lambda: "key\r\nX: y").of(Request("GET", "/"))


class Wait:
    """Something that may take too long: here what the running task does."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.late = False

    def expire(self) -> None:
        assert self._task is not None
        self.late = True
        self._task.cancel()


async def hang(deadlines: Deadlines, seconds: float) -> str:
    wait = Wait()
    deadlines.begin(wait)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        assert wait.late
        return "late"
    deadlines.end(wait)
    return "in time"


def test_each_is_late_at_its_own_deadline() -> None:
    async def body(loop: VirtualLoop) -> None:
        deadlines = Deadlines(5.0)
        begin = loop.time()
        first = asyncio.create_task(hang(deadlines, 60))
        await asyncio.sleep(2)
        quick = asyncio.create_task(hang(deadlines, 4.9))
        second = asyncio.create_task(hang(deadlines, 60))
        assert await first == "late"
        assert loop.time() - begin == pytest.approx(5.0)
        assert await second == "late"
        assert loop.time() - begin == pytest.approx(7.0)
        assert await quick == "in time"
        await asyncio.sleep(60)
        assert await asyncio.create_task(hang(deadlines, 6)) == "late", "the timer starts again"
        deadlines.close()

    run_virtual(body)


@pytest.mark.parametrize("late", [0.0, 0.3, 3600.0])
def test_what_has_arrived_is_read_before_a_deadline_strikes(late: float) -> None:
    """A process that was stopped for longer than the timeout found its timers due, and 41 answers unread."""

    async def body(loop: VirtualLoop) -> None:
        deadlines = Deadlines(5.0)
        here, there = socket.socketpair()
        here.setblocking(False)
        with here, there:

            async def read() -> str:
                wait = Wait()
                deadlines.begin(wait)
                try:
                    for _ in range(3):  # head, body and whatever else takes a turn each
                        await loop.sock_recv(here, 2)
                except asyncio.CancelledError:
                    assert wait.late
                    return "late"
                deadlines.end(wait)
                return "read"

            def stand_still() -> None:
                there.send(b"answer")
                loop.stall(0.1 + late)

            reading = asyncio.create_task(read())
            idle = asyncio.create_task(hang(deadlines, 10**6))
            loop.call_later(4.9, stand_still)
            assert await reading == "read"
            assert await idle == "late"
            assert loop.time() == pytest.approx(1005.0 + late)
        deadlines.close()

    run_virtual(body)
