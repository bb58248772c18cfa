"""DeadLetters: where jobs go that nobody will try again, each written until the broker has it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.queues import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.queues import DeadLetter, Message

FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 10.0
AT_ONCE: Final = 20
"""Letters that are written together, so that one that is refused holds up no other."""

log = structlog.get_logger()


class DeadLetters:
    """Of one consumer."""

    name = "dead letter"

    def __init__(self, queue: DeadLetter) -> None:
        self._queue = queue
        self._writing = asyncio.Semaphore(AT_ONCE)
        self._failing: set[object] = set()
        """Letters of which the last try failed."""
        self.away = False
        """Whether its broker did not answer the last letter."""
        self.written: Counter[str] = Counter()
        """Letters that are durable, by the reason."""
        self.refused = 0
        """Tries that the broker refused, or did not answer."""
        self.waiting = 0
        """Letters that are not durable yet."""

    async def write(self, message: Message, reason: Mapping[str, Any]) -> None:
        """Return when the letter is durable; until then it is tried again and again."""
        self.waiting += 1
        try:
            await self._write(message, reason)
        finally:
            self.waiting -= 1
        self.written[str(reason.get("reason"))] += 1

    async def _write(self, message: Message, reason: Mapping[str, Any]) -> None:
        about, wait = {**reason, **_about(message)}, FIRST_WAIT
        letter = object()
        while True:
            try:
                async with self._writing:
                    await self._put(message, about)
            except QueueError as error:
                self.refused += 1
                self._failed(letter, error)
                await asyncio.sleep(wait)
                wait = min(MOST_WAIT, wait * 2)
            else:
                self._done(letter)
                return

    async def _put(self, message: Message, about: Mapping[str, Any]) -> None:
        line = message.data if message.entry is None else message.entry
        await self._queue.put(line, about, message.identity)

    def _failed(self, letter: object, error: QueueError) -> None:
        """Told once, for however many letters and tries, until it is over."""
        away = isinstance(error, QueueLost)
        if not self._failing or away > self.away:
            told = f"the {self.name} cannot be written; its messages stay in hand"
            log.warning(told, error=str(error))
        self._failing.add(letter)
        self.away = away

    def _done(self, letter: object) -> None:
        self.away = False
        if self._failing:
            self._failing.discard(letter)
            if not self._failing:
                told = f"the {self.name} takes all letters again"
                log.info(told)


def _about(message: Message) -> dict[str, Any]:
    """Where the message came from, what of it the letter holds, and when that was written."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    about: dict[str, Any] = {"queue": message.source, "message": message.id, "at": now}
    more = {"entry": message.entry is not None, "unread": message.unread, "retries": message.retries}
    return about | {name: value for name, value in more.items() if value}
