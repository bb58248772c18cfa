"""A Relay is the address at which others know a server, whichever server stands behind it just now."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from tests.support.servers import Proxy

if TYPE_CHECKING:
    from collections.abc import Coroutine


class _Line(Proxy):
    """Listens on all addresses, and can be turned to another server."""

    def turn(self, port: int) -> None:
        self._target = port

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", self.port)


class Relay:
    """In a thread of its own."""

    def __init__(self, port: int) -> None:
        self._line = _Line(port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def port(self) -> int:
        return self._line.port

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Every connection breaks, new ones are refused."""
        self._do(self._line.cut())

    def mend(self) -> None:
        self._do(self._line.mend())

    def turn(self, port: int) -> None:
        """The next connections go to another server."""
        self._line.turn(port)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
