"""A Reader takes messages from one queue, no more than can be started soon, and hands each to its workspace."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import structlog
from anyio import move_on_after

from sender.consume.acknowledger import requeue
from sender.consume.in_flight import UnackedMessage
from sender.consume.message_parser import invalid
from sender.consume.prefetch import PrefetchPolicy
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.queues import QueueError, QueueLost
from sender.runtime.long_step import run_step
from sender.runtime.tasks import unless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.consume.message_parser import MessageParser
    from sender.consume.workspace_task import WorkspaceTask
    from sender.jobs.job import Job
    from sender.queues import Message, Queue
    from sender.runtime.conditions import Conditions

FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 5.0
FULL_WAIT: Final = 0.5
"""Seconds without reading after a whole batch had to be requeued: nobody gains by passing it around."""
LOOK_AGAIN: Final = 0.05
LAG_EVERY: Final = 5.0

log = structlog.get_logger()


class Reader:
    """Reads until `stop`; `keep` and `watch_lag` run beside."""

    def __init__(
        self, queue: Queue, consumers: Mapping[str | None, WorkspaceTask], parser: MessageParser, prefetch: int,
        conditions: Conditions,
    ) -> None:
        self.queue = queue
        self.lag: int | None = None
        """Messages that wait, as the broker told last."""
        self._consumers = consumers
        self._parser = parser
        self._conditions = conditions
        self._condition = f"queue {queue.source}"
        self._policy = PrefetchPolicy(prefetch)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        conditions.miss(self._condition, "not yet read")

    def stop(self) -> None:
        """Read nothing more."""
        self._stop.set()

    async def run(self) -> None:
        """Read until `stop`."""
        wait = FIRST_WAIT
        while not self._stop.is_set():
            try:
                await self._read_once()
                self._conditions.meet(self._condition)
                wait = FIRST_WAIT
            except QueueError as error:
                self._conditions.miss(self._condition, str(error))
                if wait == FIRST_WAIT or not isinstance(error, QueueLost):
                    log.warning("a queue cannot be read", error=str(error))
                await self._rest(wait)
                wait = min(MOST_WAIT, wait * 2)

    async def keep(self) -> None:
        """Keep what is in hand from returning to the queue, and requeue in time what the broker would give to another
        anyway; until cancelled."""
        while True:
            await asyncio.sleep(self.queue.keep_every or MOST_WAIT)
            try:
                if self.queue.keep_every is not None:
                    await self._keep_all()
            except QueueError as error:
                log.warning("messages in hand could not be kept", error=str(error))
            now = self._loop.time()
            for consumer in self._consumers.values():
                consumer.requeue(consumer.in_flight.overdue(now))

    async def watch_lag(self) -> None:
        """Ask the broker how many messages wait, until cancelled."""
        while True:
            try:
                self.lag = await self.queue.lag()
            except QueueError:
                self.lag = None
            await asyncio.sleep(LAG_EVERY)

    async def _keep_all(self) -> None:
        in_hand = [one for consumer in self._consumers.values() for one in consumer.in_flight]
        if mine := [one.message for one in in_hand if one.queue is self.queue]:
            await self.queue.keep(mine)

    async def _read_once(self) -> None:
        await self._compare_memories()
        in_hand = sum(consumer.in_flight.of(self.queue) for consumer in self._consumers.values())
        most = self._policy.most(in_hand, self._loop.time())
        if not most or not any(consumer.works for consumer in self._consumers.values()):
            await self._rest(LOOK_AGAIN)
            return
        messages = await unless(self._stop, self.queue.read(most)) or ()  # the queue keeps what came else
        left = await self._take_on(messages)
        await requeue(left)
        if left and len(left) == len(messages):
            await self._rest(FULL_WAIT)

    async def _compare_memories(self) -> None:
        """Before the first read for each of them: what was given out before they began is not in them."""
        for consumer in self._consumers.values():
            await consumer.compare(self.queue)

    async def _take_on(self, messages: Sequence[Message]) -> list[UnackedMessage]:
        """To the workspaces with them; returns what has to be requeued."""
        arrived: defaultdict[str | None, list[tuple[Job, UnackedMessage]]] = defaultdict(list)
        left: list[UnackedMessage] = []
        for message in messages:
            unacked = UnackedMessage(self.queue, message, self._loop.time())
            found = await run_step(len(message.data), self._parser.parse, message)
            if isinstance(found, Outcome):
                left += self._refuse(unacked, found)
            elif found.workspace not in self._consumers:
                unknown = Problem("bad_workspace", "workspace", "no workspace of this name is configured")
                left += self._refuse(unacked, invalid(found, (unknown,)))
            else:
                arrived[found.workspace].append((found, unacked))
                self._policy.saw(self._consumers[found.workspace], found, self._loop.time())
        for name, jobs in arrived.items():
            left += await self._consumers[name].take_on(jobs)
        return left

    def _refuse(self, message: UnackedMessage, outcome: Outcome) -> list[UnackedMessage]:
        """Have the refusal recorded by any workspace that works; if there is none, the message goes back."""
        for consumer in self._consumers.values():
            if consumer.works:
                consumer.refuse(message, outcome)
                return []
        return [message]

    async def _rest(self, seconds: float) -> None:
        with move_on_after(seconds):
            await self._stop.wait()
