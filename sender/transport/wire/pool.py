"""The ConnectionPool keeps connections for the next requests, as many as it may, and none that has idled for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sender.transport.wire.connection import WireConnection

CLOSING: Final = 1.0
"""Seconds that connections may take to close."""


class ConnectionPool:
    """At most `limit` connections; `connect` opens one that tells `free` and `lost`."""

    def __init__(self, connect: Callable[[], Awaitable[WireConnection]], limit: int, keep_alive: float) -> None:
        self._connect = connect
        self._limit = limit
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._idle: deque[WireConnection] = deque()
        """Those that idle longest stand first, and are used first, so that all stay in use."""
        self._open: set[WireConnection] = set()
        self._opening = 0
        self._waiting: deque[asyncio.Future[WireConnection | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def pick(self) -> WireConnection | None:
        """An idle connection that was open when last heard of, if there is one."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.usable and self._loop.time() - connection.idle_since <= self._keep_alive:
                return connection
            connection.close()
        return None

    async def acquire(self) -> WireConnection:
        """An idle connection, a new one, or the next that is free; raises what `connect` raises."""
        while (connection := self.pick()) is None:
            if self.has_room:
                return await self.open()
            connection = await self._next_free()
            if connection is not None and connection.usable:
                break
        return connection

    @property
    def has_room(self) -> bool:
        """Whether another connection may be opened."""
        return len(self._open) + self._opening < self._limit

    async def open(self) -> WireConnection:
        """A new connection."""
        self._opening += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._opening -= 1
            self._wake(None)
            raise
        self._opening -= 1
        self._open.add(connection)
        return connection

    def free(self, connection: WireConnection) -> None:
        """It can take another request: whoever waits longest has it."""
        if not self._wake(connection):
            self._idle.append(connection)
            if self._timer is None:
                self._timer = self._loop.call_later(self._keep_alive, self._drop_old)

    def lost(self, connection: WireConnection) -> None:
        """It is gone, so another may be opened."""
        self._open.discard(connection)
        self._wake(None)

    async def aclose(self) -> None:
        """Close all of them; one that is not closed soon is dropped."""
        if self._timer is not None:
            self._timer.cancel()
        self._idle.clear()
        for connection in tuple(self._open):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                while self._open:
                    await self._next_free()
        for connection in tuple(self._open):
            connection.reset()

    async def _next_free(self) -> WireConnection | None:
        """The next that is free; None where one may be opened instead."""
        turn: asyncio.Future[WireConnection | None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # what it was given is the next one's
                given = turn.result()
                if given is None:
                    self._wake(None)
                else:
                    self.free(given)
            raise

    def _wake(self, connection: WireConnection | None) -> bool:
        """Give it to the first that waits; whether there was one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False

    def _drop_old(self) -> None:
        """Close what idles for too long, before its server does, and look again when the next would."""
        self._timer = None
        now = self._loop.time()
        while self._idle and now - self._idle[0].idle_since >= self._keep_alive:
            self._idle.popleft().close()
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0].idle_since + self._keep_alive, self._drop_old)
