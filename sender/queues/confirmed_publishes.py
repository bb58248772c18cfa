"""ConfirmedPublishes on one RabbitMQ channel, of which none is left behind in a connection that is not read from.

RabbitMQ says `connection.blocked` only once something was published while its memory or disk is low, and what was
written until then it takes when that is over. So the first thing on a connection is a message that no queue gets; and a
publish that was given up is waited for by its next try, not written again.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aio_pika

from sender.queues.queue import QueueLost

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection

LOOK_EVERY: Final = 0.5
"""Seconds after which an open confirmation is looked at: RabbitMQ may have stopped to read."""
BLOCKED: Final = "RabbitMQ takes no messages now, since its memory or disk is low"
MOST_OPEN: Final = 1000
"""Publishes that were given up and are remembered; the oldest of more than that are forgotten."""


class ConfirmedPublishes:
    """To one queue."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel, queue: str) -> None:
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._given_up: dict[tuple[bytes, str], asyncio.Future[Any]] = {}
        self._probing = asyncio.Lock()
        self._probe: asyncio.Future[Any] | None = None

    async def publish(self, message: aio_pika.Message) -> None:
        """It is confirmed when this returns. QueueLost when RabbitMQ has stopped to read from us."""
        key = (message.body, repr(sorted(message.headers.items())))
        publishing = self._given_up.pop(key, None)
        if publishing is None:
            await self._try()
            publishing = self._begin(message, self._queue, mandatory=True)
        try:
            await self._confirmed(publishing)
        except (QueueLost, asyncio.CancelledError):
            self._given_up[key] = publishing
            if len(self._given_up) > MOST_OPEN:
                del self._given_up[next(iter(self._given_up))]
            raise

    def close(self) -> None:
        """Wait for nothing any more."""
        for publishing in (*self._given_up.values(), self._probe):
            if publishing is not None:
                publishing.cancel()

    async def _try(self) -> None:
        """Once, whether RabbitMQ reads from this connection."""
        async with self._probing:
            if self._probe is None:
                nobody = f"sender-probe-{secrets.token_hex(8)}"
                self._probe = self._begin(aio_pika.Message(b""), nobody, mandatory=False)
            await self._confirmed(self._probe)
        if await self._is_blocked():
            raise QueueLost(BLOCKED)

    def _begin(self, message: aio_pika.Message, to: str, *, mandatory: bool) -> asyncio.Future[Any]:
        sent = self._channel.default_exchange.publish(message, routing_key=to, mandatory=mandatory)
        publishing = asyncio.ensure_future(sent)
        publishing.add_done_callback(_look)
        return publishing

    async def _confirmed(self, publishing: asyncio.Future[Any]) -> None:
        while not (await asyncio.wait([publishing], timeout=LOOK_EVERY))[0]:
            if await self._is_blocked():
                raise QueueLost(BLOCKED)
        publishing.result()

    async def _is_blocked(self) -> bool:
        transport: Any = self._connection.transport
        if transport is None:  # it is closed: whoever uses it is told
            return False
        try:
            async with asyncio.timeout(0):
                await transport.connection.ready()  # at once, unless RabbitMQ has said `connection.blocked`
        except TimeoutError:
            return True
        return False


def _look(publishing: asyncio.Future[Any]) -> None:
    """Nobody may be there any more to see its error."""
    with suppress(asyncio.CancelledError):
        publishing.exception()
