"""What all queues have in common: messages in hand, acknowledgements that are repeated, reads that lose nothing."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from sender.jobs.job import MOST_LINE
from sender.queues.message_identity import CONTENT, carried, identity_of, queue_name
from sender.queues.origin_claim import OriginClaim
from sender.queues.queue import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence

    from sender.queues.address import Address
    from sender.queues.broker_connection import BrokerConnection
    from sender.queues.queue import Ending, Message, QueueOrigins, RequeueCounts

WAIT: Final = 1.0
"""Seconds that a read waits for its first message."""
TRANSFER: Final = 20.0
"""Seconds more for a read, which may carry many megabytes."""
LEAVE_WITHIN: Final = 3.0
"""Seconds that closing waits for a read that was cancelled."""
HEAD: Final = 1024
"""Bytes that are kept of a message that is larger than any job."""
FULL: Final = 0.05
"""Seconds that a read waits when all places in hand are taken."""

C = TypeVar("C")


class BrokerQueue(ABC, Generic[C]):
    """A Queue, but for what is said to the broker itself."""

    keep_every: float | None = None
    ack_timeout: float | None = None
    counts_returns: bool = False
    handles_outlive_connection: ClassVar[bool] = True
    connection_type: ClassVar[type[BrokerConnection[Any]]]

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        self.address = address
        self.source = address.shown
        self.on_revoked: Callable[[Collection[Message]], Awaitable[None]] | None = None
        self.return_after = return_after
        self.returned_at: float | None = None
        self.redeliveries = 0
        self.give_backs = 0
        self._requeue_counts = requeue_counts
        self._queue_name = queue_name(address)
        self._origin_claim = OriginClaim(origins)
        self._limit = in_hand
        self._wait = WAIT
        self.read_bytes = MOST_LINE
        self._largest = MOST_LINE
        self._in_hand: dict[Hashable, Message] = {}
        self._done: dict[Hashable, Message] = {}
        self._flushing = asyncio.Lock()
        self._reading: asyncio.Task[list[Message]] | None = None
        self._connection: BrokerConnection[C] = self.connection_type(address, self._prepare)

    @property
    def alive(self) -> bool:
        """Whether the broker answered the last call."""
        return self._connection.alive

    async def open(self) -> None:
        """Connect and check that the queue is there."""
        await self._connection.run(self._check)

    async def read(self, most: int) -> Sequence[Message]:
        """Up to `most` messages, waiting about a second for the first."""
        if self._reading is None:
            room = min(most, self._limit - len(self._in_hand))
            if room <= 0:
                await asyncio.sleep(FULL)
                return []
            self._reading = asyncio.create_task(self._read_on(room))
        reading = self._reading
        await asyncio.wait([reading])  # a cancelled read leaves the task, and the next read its messages
        return self._collect(reading, most) if self._reading is reading else []

    async def ack(self, messages: Iterable[Message]) -> None:
        """Take these out of the queue, now or when the broker is back."""
        self._done.update((self._key(message), message) for message in messages if self._has(message))
        try:
            await self._connection.run(self._flush)
        except QueueLost:
            self._forget_dead_handles()

    async def requeue(self, messages: Iterable[Message], delay: float = 0.0) -> None:
        """Let other readers have these, uncounted; after `delay` seconds where the broker knows a delay."""
        batch = [message for message in messages if self._has(message) and self._key(message) not in self._done]
        self.give_backs += len(batch)
        try:
            await self._unless_lost(lambda client, batch: self._requeue(client, batch, delay), batch)
        finally:  # what could not be put back returns by itself, and is new then
            self._release(batch)

    async def keep(self, messages: Iterable[Message]) -> None:
        """The time until these return to the queue begins anew."""
        await self._unless_lost(self._keep, [message for message in messages if self._has(message)])

    async def amend(self, ending: Ending) -> None:
        """Nothing: most queues keep no ends."""

    async def lag(self) -> int | None:
        """How many messages wait to be read, where the broker tells."""
        return await self._connection.run(self._lag)

    async def left_since(self, seconds: float) -> bool:
        """Whether a message was given out longer ago than this and has no end yet; False where the broker is silent."""
        return await self._connection.run(lambda client: self._left_since(client, seconds))

    async def aclose(self) -> None:
        """Finish a read that was cancelled, repeat open acknowledgements once, disconnect."""
        if self._reading is not None:
            await self._finish(self._reading)
        if self._done:
            await self.ack(())
        if self._connection.alive:
            with suppress(QueueLost):
                await self._connection.run(self._leave)
        await self._connection.aclose()

    async def _finish(self, reading: asyncio.Task[list[Message]]) -> None:
        """What a cancelled read still gets was not started: put it back."""
        if not (await asyncio.wait([reading], timeout=LEAVE_WITHIN))[0]:
            reading.cancel()
            await asyncio.wait([reading])
        if not reading.cancelled() and reading.exception() is None:
            await self.requeue(self._collect(reading, None))

    async def _read_on(self, room: int) -> list[Message]:
        async def work(client: C) -> list[Message]:
            await self._flush(client)
            await self._origin_claim.renew(self._queue_name, lambda: self._origin(client))
            return await self._read(client, room)

        try:
            return self._take(await self._connection.run(work, longer=TRANSFER))
        except QueueLost:
            self._forget_dead_handles()
            raise
        except QueueError:
            if not self.handles_outlive_connection:  # what this read got already returns with the connection
                await self._connection.aclose()
                self._forget_dead_handles()
            raise

    def _collect(self, reading: asyncio.Task[list[Message]], most: int | None) -> list[Message]:
        """Up to `most` of what was read; the rest stays for the next read."""
        self._reading = None
        got = reading.result()
        if most is not None and len(got) > most:
            rest = asyncio.get_running_loop().create_task(_ready(got[most:]))
            self._reading = rest
            return got[:most]
        return got

    def _take(self, messages: Iterable[Message]) -> list[Message]:
        """Those that are new; of one in hand already only the newer handle is kept."""
        new = []
        for message in messages:
            known = self._in_hand.setdefault(self._key(message), message)
            if known is message:
                new.append(message)
                self.redeliveries += message.deliveries > 1
            else:
                known.handle, known.connection = message.handle, message.connection
        return new

    def _key(self, message: Message) -> Hashable:
        """What tells this message from every other in hand."""
        return message.id

    def _identity(self, message_id: str, headers: Mapping[Any, Any] | None) -> str | None:
        """Who a message is: what it carries as a copy, else by its own id; None when only its content says it."""
        found = carried(headers)
        if found is None:
            return identity_of(self._queue_name, message_id) if message_id else None
        return None if found == CONTENT else found

    def _has(self, message: Message) -> bool:
        return self._in_hand.get(self._key(message)) is message

    def _release(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if self._has(message):
                del self._in_hand[self._key(message)]
                self._done.pop(self._key(message), None)

    def _forget_dead_handles(self) -> None:
        if not self.handles_outlive_connection:
            self._release(
                [message for message in self._in_hand.values() if not self._connection.is_current(message.connection)]
            )

    async def _flush(self, client: C) -> None:
        async with self._flushing:
            batch = list(self._done.values())
            if batch:
                await self._ack(client, batch)
                self._release(batch)

    async def _unless_lost(self, act: Callable[[C, list[Message]], Awaitable[None]], batch: list[Message]) -> None:
        if not batch:
            return
        try:
            await self._connection.run(lambda client: act(client, batch))
        except QueueLost:
            self._forget_dead_handles()

    async def _prepare(self, client: C) -> None:
        """What a new connection needs before it can be read from."""

    async def _origin(self, client: C) -> str | None:  # noqa: ARG002
        """What tells this server from others that have a queue of this name; None where ids are unique anyway."""
        return None

    async def _check(self, client: C) -> None:
        await self._lag(client)

    async def _leave(self, client: C) -> None:
        """Say good-bye to the broker."""

    @abstractmethod
    async def _read(self, client: C, room: int) -> list[Message]: ...

    @abstractmethod
    async def _ack(self, client: C, batch: list[Message]) -> None: ...

    @abstractmethod
    async def _requeue(self, client: C, batch: list[Message], delay: float) -> None: ...

    @abstractmethod
    async def _keep(self, client: C, batch: list[Message]) -> None: ...

    async def _left_since(self, client: C, seconds: float) -> bool:  # noqa: ARG002
        return False

    @abstractmethod
    async def _lag(self, client: C) -> int | None: ...


async def _ready(messages: list[Message]) -> list[Message]:
    return messages
