"""A connection that is made when it is needed, and made anew after it broke."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sender.jobs.masking import mask
from sender.queues.queue import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sender.queues.address import Address

PATIENCE: Final = 10.0
"""Seconds for one exchange with the broker: a server that hangs is as good as gone."""

C = TypeVar("C")
R = TypeVar("R")


class BrokerConnection(ABC, Generic[C]):
    """One connection to a broker, and the border at which its library's errors become ours."""

    def __init__(self, address: Address, prepare: Callable[[C], Awaitable[None]] | None = None) -> None:
        self.address = address
        self.alive = False
        """Whether the broker answered the last call."""
        self._prepare = prepare
        """What is done on every new connection before it is used."""
        self._patience = PATIENCE
        self._client: C | None = None
        self._connecting = asyncio.Lock()

    @abstractmethod
    async def _connect(self) -> C: ...

    @abstractmethod
    async def _disconnect(self, client: C) -> None: ...

    @abstractmethod
    def _is_lost(self, error: Exception) -> bool | None:
        """True: the broker is away; False: it refuses; None: not the broker's error at all."""

    def _is_outdated(self, error: Exception) -> bool:  # noqa: ARG002
        """Whether the broker refuses what a new connection would read anew."""
        return False

    async def run(self, work: Callable[[C], Awaitable[R]], *, longer: float = 0.0) -> R:
        """What `work` returns, with a connection; QueueLost or QueueError. `longer`: seconds of patience more."""
        client: C | None = None
        try:
            async with asyncio.timeout(self._patience + longer):
                client = await self._connected()
                result = await work(client)
        except Exception as error:
            lost = True if isinstance(error, TimeoutError) else self._is_lost(error)
            if lost is None:
                raise
            self.alive = False
            if lost or self._is_outdated(error):
                await self._drop(client)
            raise self._told(error, QueueLost if lost else QueueError) from None
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
                client = await self._connect()
                try:
                    if self._prepare is not None:
                        await self._prepare(client)
                except BaseException:
                    await self._disconnect(client)
                    raise
                self._client = client
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
        text = mask(self.address.hide(str(error))) or "no answer in time"
        return kind(f"{self.address.shown}: {type(error).__name__}: {text[:300]}")
