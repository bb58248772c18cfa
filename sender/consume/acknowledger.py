"""The Acknowledger tells the brokers what became of messages: retry queue or dead letter first where there is a reason,
then the ack; or back to the queue, so that another replica may have them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import structlog

from sender.queues import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.consume.dead_letters import DeadLetters
    from sender.consume.in_flight import InFlight, Told, UnackedMessage
    from sender.consume.retry_queue import RetryQueue
    from sender.outcomes.outcome import Outcome
    from sender.queues import Ending, Message, Queue
    from sender.runtime.supervisor import Supervisor

BATCH: Final = 100
LETTER_WITHIN: Final = 2.0
"""Seconds for a dead letter; what takes longer is parked, so that it takes memory, but no place of other messages."""

MANY: Final = 20
"""Letters that wait and are refused, after which something is wrong with their queue, and not with one of them."""

log = structlog.get_logger()


class Acknowledger:
    """Of one workspace. It takes messages at once; they stay in hand until their broker knows."""

    def __init__(
        self, in_flight: InFlight, dead_letters: DeadLetters | None, supervisor: Supervisor,
        retries: RetryQueue | None = None,
    ) -> None:
        self._in_flight = in_flight
        self._dead_letters = dead_letters
        self._retries = retries
        self._supervisor = supervisor
        self._acks: asyncio.Queue[UnackedMessage] = asyncio.Queue()
        self.queues: list[Queue] = []
        """All that are read, to be told of jobs whose messages are gone."""
        self._late: Counter[DeadLetters] = Counter()
        """Letters that their queue has not taken within `LETTER_WITHIN`."""

    def trouble(self, letters: DeadLetters | None) -> str | None:
        """Why messages cannot go there; None while they can, or only a few are refused."""
        if letters is None or not (late := self._late[letters]):
            return None
        if letters.away:
            return f"the {letters.name} does not answer; letters that wait: {late}"
        return None if late < MANY else f"the {letters.name} refuses {late} letters; see the log"

    def ack(self, message: UnackedMessage) -> None:
        """The job is done."""
        self._in_flight.close([message])
        self._acks.put_nowait(message)

    def dead_letter(self, message: UnackedMessage, reason: Mapping[str, Any]) -> None:
        """The job ended, and was not sent: to the retry queue with it, or to the dead letter, and then it is done."""
        self._in_flight.close([message])
        retries, letters = self._retries, self._dead_letters
        if retries is not None and retries.takes(message.message, reason):
            letters = retries
        if letters is None:
            self._acks.put_nowait(message)
        else:  # a task for each: they are no more than the messages in hand
            self._supervisor.start(self._write(letters, message, reason), letters.name, ends=True)

    def amend(self, ending: Ending) -> None:
        """A job whose message is gone has another end than that had."""
        self._supervisor.start(self._amend(ending), "amendment", ends=True)

    def requeue(self, messages: Sequence[UnackedMessage]) -> None:
        """Let other replicas have these."""
        if messages:
            self._in_flight.close(messages)
            self._supervisor.start(self.tell(messages, "requeue"), "requeue", ends=True)

    async def run(self) -> None:
        """Acknowledge, until cancelled."""
        while True:
            batch = [await self._acks.get()]
            while not self._acks.empty() and len(batch) < BATCH:
                batch.append(self._acks.get_nowait())
            await self.tell(batch, "ack")

    async def tell(self, messages: Sequence[UnackedMessage], what: Told) -> None:
        """Tell the brokers now, but for messages of which they were told something already."""
        fresh = self._in_flight.tell(messages, what)
        await (ack if what == "ack" else requeue)(fresh)
        self._in_flight.closed(fresh)

    async def _amend(self, ending: Ending) -> None:
        for queue in self.queues:
            try:
                await queue.amend(ending)
            except QueueError as error:
                log.warning("the later end of a job could not be written beside it", error=str(error))

    async def _write(self, letters: DeadLetters, message: UnackedMessage, reason: Mapping[str, Any]) -> None:
        writing = asyncio.ensure_future(letters.write(message.message, reason))
        try:
            if not (await asyncio.wait([writing], timeout=LETTER_WITHIN))[0]:
                message.parked = True
                self._late[letters] += 1
                try:
                    await asyncio.wait([writing])
                finally:
                    self._late[letters] -= 1
            await writing
        finally:
            writing.cancel()
        self._acks.put_nowait(message)


async def ack(messages: Iterable[UnackedMessage]) -> None:
    """Take these out of their queues; what a broker refuses comes again, and is logged."""
    for queue, batch in by_queue(messages).items():
        try:
            await queue.ack(batch)
        except QueueError as error:
            log.warning("messages could not be acknowledged; they will come again, and be known", error=str(error))


async def requeue(messages: Iterable[UnackedMessage], delay: float = 0.0) -> None:
    """Let other readers have these, after `delay` seconds where the broker knows a delay.

    What a broker refuses to take returns by itself, and is logged.
    """
    for queue, batch in by_queue(messages).items():
        try:
            await queue.requeue(batch, delay)
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


def reason_of(outcome: Outcome, key: str | None = None) -> dict[str, Any]:
    """Why a job goes to the dead letter: its status, the first problem, and the identity that the ledger knows."""
    reason: dict[str, Any] = {"reason": outcome.status, "code": outcome.status, "id": outcome.id, "kind": outcome.kind}
    if key is not None:
        reason["key"] = key
    if outcome.problems:
        code, field, text, _ = outcome.problems[0]
        reason |= {"code": code, "field": field, "error": text}
    return reason
