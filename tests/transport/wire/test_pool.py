"""The pool: who gets which connection, on virtual time and without sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from sender.transport.wire.pool import ConnectionPool
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from sender.transport.wire.connection import WireConnection
    from tests.support.virtual_time import VirtualLoop


class Idle:
    """A connection as far as a pool looks at it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.usable = True
        self.idle_since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Its server closes it, or it is closed here."""
        if self.usable:
            self.usable = False
            asyncio.get_running_loop().call_soon(self.pool.lost, cast("WireConnection", self))

    close = reset = end


class Pool(ConnectionPool):
    """Opens such connections, after a while."""

    def __init__(self, limit: int, keep_alive: float = 10.0) -> None:
        super().__init__(self._open_one, limit, keep_alive)
        self.opened: list[Idle] = []
        self.refuses = False

    async def _open_one(self) -> WireConnection:
        await asyncio.sleep(0.1)
        if self.refuses:
            raise OSError
        self.opened.append(Idle(self))
        return cast("WireConnection", self.opened[-1])

    async def give(self, seconds: float) -> object:
        connection = await self.acquire()
        await asyncio.sleep(seconds)
        connection.idle_since = asyncio.get_running_loop().time()
        self.free(connection)
        return connection


def test_no_more_than_the_limit_are_open_and_all_have_their_turn() -> None:
    async def body(loop: VirtualLoop) -> None:
        pool = Pool(3)
        used = await asyncio.gather(*(pool.give(1.0) for _ in range(9)))
        assert len(pool.opened) == len(set(used)) == 3
        assert loop.time() == pytest.approx(1003.1)
        await pool.aclose()

    run_virtual(body)


def test_those_that_idle_longest_are_used_first_and_none_after_its_time() -> None:
    async def body(loop: VirtualLoop) -> None:
        pool = Pool(3, keep_alive=5)
        used = await asyncio.gather(*(pool.give(1.0 + number) for number in range(3)))
        assert [await pool.give(0) for _ in range(3)] == used
        await asyncio.sleep(4.9)
        assert all(one.usable for one in pool.opened)
        await asyncio.sleep(0.2)
        assert not any(one.usable for one in pool.opened), "nobody asked, and they are closed all the same"
        await pool.give(0)
        assert len(pool.opened) == 4
        await pool.aclose()

    run_virtual(body)


def test_a_connection_that_was_closed_while_idle_or_while_waited_for_is_not_given_out() -> None:
    async def body(loop: VirtualLoop) -> None:
        pool = Pool(1)
        await pool.give(0)
        pool.opened[0].end()
        assert pool.pick() is None
        await pool.give(0)
        assert len(pool.opened) == 2
        held = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0.1)
        pool.free(held)
        pool.opened[1].end()  # in the same turn, before who waits has seen it
        assert await waiting is pool.opened[2]
        await pool.aclose()

    run_virtual(body)


def test_who_stops_waiting_passes_on_what_it_was_given() -> None:
    async def body(loop: VirtualLoop) -> None:
        pool = Pool(1)
        held = await pool.acquire()
        first, second = (asyncio.create_task(pool.acquire()) for _ in range(2))
        await asyncio.sleep(0.1)
        pool.free(held)
        first.cancel()
        assert await second is held
        third, fourth = (asyncio.create_task(pool.acquire()) for _ in range(2))
        await asyncio.sleep(0.1)
        held.close()
        await asyncio.sleep(0)
        third.cancel()
        assert await fourth is pool.opened[1]
        await pool.aclose()

    run_virtual(body)


def test_a_connection_that_cannot_be_opened_leaves_its_place_to_the_next() -> None:
    async def body(loop: VirtualLoop) -> None:
        pool = Pool(2)
        pool.refuses = True
        results = await asyncio.gather(*(pool.acquire() for _ in range(6)), return_exceptions=True)
        assert [type(one) for one in results] == [OSError] * 6
        pool.refuses = False
        await pool.give(0)
        assert pool.has_room
        await pool.aclose()

    run_virtual(body)


def test_closing_waits_a_moment_for_connections_that_take_their_time() -> None:
    async def body(loop: VirtualLoop) -> None:
        pool = Pool(2)
        slow = await pool.acquire()
        dropped: list[bool] = []
        slow.close = lambda: None  # type: ignore[method-assign]
        slow.reset = lambda: dropped.append(True)  # type: ignore[method-assign]
        await pool.give(0)
        before = loop.time()
        await pool.aclose()
        assert dropped == [True]
        assert loop.time() - before == pytest.approx(1.0)

    run_virtual(body)
