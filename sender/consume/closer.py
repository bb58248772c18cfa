"""The Closer ends messages whose jobs have ended: dead letter first where there is a reason, then the ack."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.queues import QueueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.consume.holdings import Holding
    from sender.outcome import Outcome
    from sender.queues import DeadLetter, Message, Queue

FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 10.0
BATCH: Final = 100

log = structlog.get_logger()


class Closer:
    """Takes messages at once, and works through them until cancelled; a dead letter that is away holds up no other."""

    def __init__(self, dead_letter: DeadLetter | None) -> None:
        self._dead_letter = dead_letter
        self._done: asyncio.Queue[Holding] = asyncio.Queue()
        self._dead: asyncio.Queue[tuple[Holding, Mapping[str, Any]]] = asyncio.Queue()

    def ack(self, holding: Holding) -> None:
        """The job is done."""
        self._done.put_nowait(holding)

    def bury(self, holding: Holding, reason: Mapping[str, Any]) -> None:
        """Nobody will try the job again: to the dead letter with it, and then it is done."""
        if self._dead_letter is None:
            self.ack(holding)
        else:
            self._dead.put_nowait((holding, reason))

    async def run(self) -> None:
        """Work until cancelled; a broker that is away is waited for."""
        await asyncio.gather(self._acknowledge(), self._bury_all())

    async def drain(self) -> None:
        """Return when everything is closed."""
        await self._dead.join()
        await self._done.join()

    async def _acknowledge(self) -> None:
        while True:
            batch = [await self._done.get()]
            while not self._done.empty() and len(batch) < BATCH:
                batch.append(self._done.get_nowait())
            await _ack(batch)
            for _ in batch:
                self._done.task_done()

    async def _bury_all(self) -> None:
        while True:
            holding, reason = await self._dead.get()
            await self._bury(holding.message, reason)
            self.ack(holding)
            self._dead.task_done()

    async def _bury(self, message: Message, reason: Mapping[str, Any]) -> None:
        if self._dead_letter is None:
            return
        wait = FIRST_WAIT
        while True:
            try:
                await self._dead_letter.put(message.data, {**reason, "queue": message.source, "message": message.id})
            except QueueError as error:
                log.warning("the dead letter cannot be written; the message stays in hand", error=str(error))
                await asyncio.sleep(wait)
                wait = min(MOST_WAIT, wait * 2)
            else:
                return


async def _ack(batch: Sequence[Holding]) -> None:
    queues: dict[str, Queue] = {holding.queue.source: holding.queue for holding in batch}
    messages: defaultdict[str, list[Message]] = defaultdict(list)
    for holding in batch:
        messages[holding.queue.source].append(holding.message)
    for name, queue in queues.items():
        try:
            await queue.ack(messages[name])
        except QueueError as error:
            log.warning("messages could not be acknowledged; they will come again, and be known", error=str(error))


def reason_of(outcome: Outcome) -> dict[str, Any]:
    """Why a job goes to the dead letter: its status, and the first problem."""
    reason: dict[str, Any] = {"reason": outcome.status, "id": outcome.id, "kind": outcome.kind}
    if outcome.problems:
        code, field, text = outcome.problems[0]
        reason |= {"code": code, "field": field, "error": text}
    return reason
