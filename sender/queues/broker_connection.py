"""A connection that is made when it is needed, and made anew after it broke."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sender.queues import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sender.queues.address import Address

PATIENCE: Final = 10.0
"""Seconds for one exchange with the broker: a server that hangs is as good as gone."""

C = TypeVar("C")
R = TypeVar("R")


class BrokerConnection(Generic[C]):
    """One connection to a broker, and the border at which its library's errors become ours."""

    def __init__(
        self, address: Address, connect: Callable[[], Awaitable[C]], disconnect: Callable[[C], Awaitable[None]],
        is_lost: Callable[[Exception], bool | None], patience: float = PATIENCE,
    ) -> None:
        self._address = address
        self._connect, self._disconnect = connect, disconnect
        self._is_lost = is_lost
        """True: the broker is away; False: it refuses; None: not the broker's error at all."""
        self._patience = patience
        self._client: C | None = None
        self._connecting = asyncio.Lock()
        self.alive = False

    async def run(self, work: Callable[[C], Awaitable[R]], *, longer: float = 0.0) -> R:
        """What `work` returns, with a connection; QueueLost or QueueError. `longer`: seconds of patience more."""
        client: C | None = None
        try:
            async with asyncio.timeout(self._patience + longer):
                client = await self._connected()
                result = await work(client)
        except Exception as error:
            verdict = True if isinstance(error, TimeoutError) else self._is_lost(error)
            if verdict is None:
                raise
            self.alive = False
            if verdict:
                await self._drop(client)
            raise self._told(error, QueueLost if verdict else QueueError) from None
        self.alive = True
        return result

    def is_current(self, client: object) -> bool:
        """Whether this is the connection in use."""
        return client is not None and client is self._client

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._drop(self._client)
        self.alive = False

    async def _connected(self) -> C:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connect()
            return self._client

    async def _drop(self, client: C | None) -> None:
        """Forget this connection, unless another has taken its place."""
        if client is None or client is not self._client:
            return
        self._client = None
        try:
            async with asyncio.timeout(1):
                await self._disconnect(client)
        except Exception as error:
            if not isinstance(error, TimeoutError) and self._is_lost(error) is None:
                raise

    def _told(self, error: Exception, kind: type[QueueError]) -> QueueError:
        if isinstance(error, QueueError):
            return error
        text = self._address.hide(str(error)) or "no answer in time"
        return kind(f"{self._address.shown}: {type(error).__name__}: {text[:300]}")
