"""Queues as ends of a copy, outboxes and dead letters among them: what has arrived in the target leaves its queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.consume.copying.copies import Copy
from sender.errors import UsageError
from sender.queues import Ending
from sender.queues.address import parse
from sender.queues.message_identity import CONTENT
from sender.queues.queue_url import open_letters, open_queue, open_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.queues import Message
    from sender.queues.letters import Letter

PATIENCE: Final = 5.0
"""Seconds more, since queues look for such messages every few seconds only."""
BATCH: Final = 500
BATCH_BYTES: Final = 8 * 2**20
IN_HAND: Final = 20_000
RETURN_AFTER: Final = 20.0
"""Seconds after which what a killed run had in hand may be read again."""
EMPTY: Final = 2
"""Reads without a message after which there are no more: one alone may miss what lies on another server."""


log = structlog.get_logger()


class QueueSource:
    """The messages of a queue; each is in hand until it is in the target."""

    def __init__(self, url: str) -> None:
        self._queue = open_queue(url, in_hand=IN_HAND, return_after=RETURN_AFTER)
        self._left: list[Message] = []
        self._held: list[Message] = []
        self._kept_at = 0.0
        self._found_at = 0.0
        self._elsewhere = 0
        self._told = False

    @property
    def left(self) -> int:
        """See `CopySource.left`; what others have in hand is among it."""
        return len(self._left) + self._elsewhere

    async def open(self) -> None:
        """See `CopySource.open`."""
        await self._queue.open()
        self._kept_at = self._found_at = asyncio.get_running_loop().time()

    async def read(self) -> Sequence[Copy]:
        """See `CopySource.read`. Messages that are no job lines are held, so that they do not come again and again."""
        self._queue.read_bytes = BATCH_BYTES
        empty = 0
        while empty < EMPTY or await self._may_return():
            await self._keep()
            found = await self._queue.read(BATCH)
            whole = [one for one in found if not one.unread and one.entry is None]
            self._left += [one for one in found if one.unread or one.entry is not None]
            if whole:
                self._held = whole
                self._found_at = asyncio.get_running_loop().time()
                return [Copy(one.data, f"{one.source} {one.id}", one.identity or CONTENT, one) for one in whole]
            empty = 0 if found else empty + 1
        return []

    async def done(self, copies: Sequence[Copy]) -> None:
        """See `CopySource.done`."""
        for one in copies:
            one.handle.ending = Ending("moved")
        await self._queue.ack([one.handle for one in copies])
        self._held = []

    async def aclose(self) -> None:
        """See `CopySource.aclose`."""
        if self._queue.alive:
            await self._queue.requeue([*self._held, *self._left])
        await self._queue.aclose()

    async def _may_return(self) -> bool:
        """Whether messages are in other hands, and may be those of a run that was killed."""
        self._elsewhere = max(0, (await self._queue.lag() or 0) - len(self._left))
        if self._elsewhere and not self._told:
            self._told = True
            log.info("messages are in other hands; a run that was killed may have left them", messages=self._elsewhere)
        return bool(self._elsewhere) and asyncio.get_running_loop().time() - self._found_at < RETURN_AFTER + PATIENCE

    async def _keep(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._left and self._queue.keep_every is not None and now - self._kept_at >= self._queue.keep_every:
            self._kept_at = now
            await self._queue.keep(self._left)


class LetterSource:
    """What lies in a dead letter queue that is not read as a queue: a stream without a group, say."""

    def __init__(self, url: str) -> None:
        self.left = 0
        self._letters = open_letters(url)

    async def open(self) -> None:
        """See `CopySource.open`."""
        await self._letters.open()

    async def read(self) -> Sequence[Copy]:
        """See `CopySource.read`."""
        while page := await self._letters.read():
            left: list[Letter] = [one for one in page if one.is_entry or one.is_cut]
            await self._letters.leave(left)
            self.left += len(left)
            if whole := [one for one in page if one not in left]:
                return [Copy(one.data, f"{self._letters.shown} {one.handle}", one.identity, one) for one in whole]
        return []

    async def done(self, copies: Sequence[Copy]) -> None:
        """See `CopySource.done`."""
        await self._letters.remove([one.handle for one in copies])

    async def aclose(self) -> None:
        """See `CopySource.aclose`."""
        await self._letters.aclose()


class QueueTarget:
    """A queue, whose broker confirms each batch. One that is killed before it is noted is put there again, under the
    same identities: whoever consumes sends each job once."""

    def __init__(self, url: str) -> None:
        self._publisher: Any = open_target(url)

    async def open(self) -> None:
        """See `CopyTarget.open`."""
        await self._publisher.open()

    async def put(self, copies: Sequence[Copy]) -> int:
        """See `CopyTarget.put`."""
        await self._publisher.copy([(one.line, one.identity) for one in copies])
        return 0

    async def aclose(self) -> None:
        """See `CopyTarget.aclose`."""
        await self._publisher.aclose()


def queue_source(url: str) -> QueueSource | LetterSource:
    """A queue where the URL is one for reading, else its letters; UsageError when it is neither."""
    try:
        parse(url)
    except UsageError as error:
        try:
            return LetterSource(url)
        except UsageError:
            raise error from None
    return QueueSource(url)
