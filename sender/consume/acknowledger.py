"""The Acknowledger ends messages whose jobs have ended: dead letter first where there is a reason, then the ack."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.consume.requeue import BackgroundTasks
from sender.consume.unacked import by_queue
from sender.queues import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.consume.unacked import UnackedMessage
    from sender.outcomes.outcome import Outcome
    from sender.queues import DeadLetter, Queue

FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 10.0
BATCH: Final = 100
AT_ONCE: Final = 20
"""Dead letters under way together, so that one that is refused holds up no other."""

log = structlog.get_logger()


class Acknowledger:
    """Takes messages at once, and works through them until cancelled; they stay in hand until they are closed."""

    def __init__(self, dead_letter: DeadLetter | None) -> None:
        self._dead_letter = dead_letter
        self._open: dict[UnackedMessage, None] = {}
        self._done: asyncio.Queue[UnackedMessage] = asyncio.Queue()
        self._burials = BackgroundTasks()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._told = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def holdings(self) -> list[UnackedMessage]:
        """Messages that are not closed yet."""
        return list(self._open)

    def of(self, queue: Queue) -> int:
        """Messages of this queue that are not closed yet."""
        return sum(holding.queue is queue for holding in self._open)

    def ack(self, holding: UnackedMessage) -> None:
        """The job is done."""
        self._open[holding] = None
        self._idle.clear()
        self._done.put_nowait(holding)

    def bury(self, holding: UnackedMessage, reason: Mapping[str, Any]) -> None:
        """Nobody will try the job again: to the dead letter with it, and then it is done."""
        if self._dead_letter is None:
            self.ack(holding)
            return
        self._open[holding] = None
        self._idle.clear()
        self._burials.start(self._bury(self._dead_letter, holding, reason), "dead letter")

    async def run(self) -> None:
        """Acknowledge until cancelled."""
        try:
            while True:
                batch = [await self._done.get()]
                while not self._done.empty() and len(batch) < BATCH:
                    batch.append(self._done.get_nowait())
                await _ack(batch)
                for holding in batch:
                    self._close(holding)
        finally:
            await self._burials.cancel()

    async def drain(self) -> None:
        """Return when everything is closed."""
        await self._idle.wait()

    def _close(self, holding: UnackedMessage) -> None:
        self._open.pop(holding, None)
        if not self._open:
            self._idle.set()

    async def _bury(self, dead_letter: DeadLetter, holding: UnackedMessage, reason: Mapping[str, Any]) -> None:
        message = holding.message
        wait = FIRST_WAIT
        while True:
            try:
                async with self._gate:
                    await dead_letter.put(message.data, {**reason, "queue": message.source, "message": message.id})
            except QueueError as error:
                self._tell(error)
                await asyncio.sleep(wait)
                wait = min(MOST_WAIT, wait * 2)
            else:
                self._told = False
                self.ack(holding)
                return

    def _tell(self, error: QueueError) -> None:
        """Once for all that wait while it is away; every time for a letter that is refused."""
        if not self._told or not isinstance(error, QueueLost):
            log.warning("the dead letter cannot be written; its messages stay in hand", error=str(error))
        self._told = True


async def _ack(batch: Sequence[UnackedMessage]) -> None:
    for queue, messages in by_queue(batch).items():
        try:
            await queue.ack(messages)
        except QueueError as error:
            log.warning("messages could not be acknowledged; they will come again, and be known", error=str(error))


def reason_of(outcome: Outcome) -> dict[str, Any]:
    """Why a job goes to the dead letter: its status, and the first problem."""
    reason: dict[str, Any] = {"reason": outcome.status, "id": outcome.id, "kind": outcome.kind}
    if outcome.problems:
        code, field, text = outcome.problems[0]
        reason |= {"code": code, "field": field, "error": text}
    return reason
