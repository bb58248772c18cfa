"""The Acknowledger tells the brokers what became of messages: dead letter first where there is a reason, then the ack;
or back to the queue, so that another replica may have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from anyio import create_task_group

from sender.queues import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.consume.dead_letters import DeadLetters
    from sender.consume.in_flight import InFlight, Told, UnackedMessage
    from sender.outcomes.outcome import Outcome
    from sender.queues import Message, Queue

BATCH: Final = 100

log = structlog.get_logger()


class Acknowledger:
    """Of one workspace. It takes messages at once, and works through them; they stay in hand until the broker knows."""

    def __init__(self, in_flight: InFlight, dead_letters: DeadLetters | None) -> None:
        self._in_flight = in_flight
        self._dead_letters = dead_letters
        self._acks: asyncio.Queue[UnackedMessage] = asyncio.Queue()
        self._requeues: asyncio.Queue[UnackedMessage] = asyncio.Queue()
        self._letters: asyncio.Queue[tuple[UnackedMessage, Mapping[str, Any]]] = asyncio.Queue()

    def ack(self, message: UnackedMessage) -> None:
        """The job is done."""
        self._in_flight.leave([message])
        self._acks.put_nowait(message)

    def dead_letter(self, message: UnackedMessage, reason: Mapping[str, Any]) -> None:
        """Nobody will try the job again: to the dead letter with it, and then it is done."""
        if self._dead_letters is None:
            self.ack(message)
            return
        self._in_flight.leave([message])
        self._letters.put_nowait((message, reason))

    def requeue(self, messages: Iterable[UnackedMessage]) -> None:
        """Let other replicas have these."""
        for message in self._in_flight.leave(list(messages)):
            self._requeues.put_nowait(message)

    async def run(self) -> None:
        """Tell the brokers, until cancelled. Each letter has a task: they are no more than the messages in hand."""
        async with create_task_group() as group:
            group.start_soon(self._work_off, self._acks, "ack")
            group.start_soon(self._work_off, self._requeues, "requeue")
            while True:
                group.start_soon(self._write, *await self._letters.get())

    async def drain(self) -> None:
        """Return when the brokers know of all."""
        await self._in_flight.wait_gone()

    async def requeue_now(self, messages: Sequence[UnackedMessage]) -> None:
        """The same at the end, beside what a broker is being told."""
        await self._tell(messages, "requeue")

    async def _work_off(self, queue: asyncio.Queue[UnackedMessage], what: Told) -> None:
        while True:
            batch = [await queue.get()]
            while not queue.empty() and len(batch) < BATCH:
                batch.append(queue.get_nowait())
            await self._tell(batch, what)

    async def _tell(self, messages: Sequence[UnackedMessage], what: Told) -> None:
        fresh = self._in_flight.tell(messages, what)
        await (ack if what == "ack" else requeue)(fresh)
        self._in_flight.gone(fresh)

    async def _write(self, message: UnackedMessage, reason: Mapping[str, Any]) -> None:
        if self._dead_letters is not None:
            await self._dead_letters.write(message.message, reason)
        self.ack(message)


async def ack(messages: Iterable[UnackedMessage]) -> None:
    """Take these out of their queues; what a broker refuses comes again, and is logged."""
    for queue, batch in by_queue(messages).items():
        try:
            await queue.ack(batch)
        except QueueError as error:
            log.warning("messages could not be acknowledged; they will come again, and be known", error=str(error))


async def requeue(messages: Iterable[UnackedMessage]) -> None:
    """Let other readers have these; what a broker refuses to take returns by itself, and is logged."""
    for queue, batch in by_queue(messages).items():
        try:
            await queue.give_back(batch)
        except QueueError as error:
            log.warning(
                "messages could not be given back; they return by themselves", messages=len(batch), error=str(error)
            )


def by_queue(messages: Iterable[UnackedMessage]) -> dict[Queue, list[Message]]:
    """Each with the others of its queue."""
    found: dict[Queue, list[Message]] = {}
    for one in messages:
        found.setdefault(one.queue, []).append(one.message)
    return found


def reason_of(outcome: Outcome) -> dict[str, Any]:
    """Why a job goes to the dead letter: its status, and the first problem."""
    reason: dict[str, Any] = {"reason": outcome.status, "id": outcome.id, "kind": outcome.kind}
    if outcome.problems:
        code, field, text = outcome.problems[0]
        reason |= {"code": code, "field": field, "error": text}
    return reason
