"""A Reader takes messages from one queue and hands each to its workspace, as long as there is memory for them.

It reads what can be started soon. What turns out to be for a full lane is parked there, within `memory` bytes, and is
given back only at a stop, or before its broker would give it to another anyway.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import structlog
from anyio import move_on_after

from sender.config.settings import DEFAULTS
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
    from collections.abc import Collection, Mapping, Sequence

    from sender.consume.message_parser import MessageParser
    from sender.consume.workspace_task import WorkspaceTask
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.queues import Message, Queue
    from sender.runtime.conditions import Conditions

FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 5.0
FULL_WAIT: Final = 0.5
"""Seconds without reading after nothing of a whole batch could be taken on: nobody gains by passing it around."""
LOOK_AGAIN: Final = 0.05
BACK_AFTER: Final = 2.0
"""Seconds after which others get what cannot be taken on here, where the broker knows a delay."""
TRY_AGAIN: Final = 1.0
"""Seconds after which a message is tried again that waits beside: another replica may be at work on its job."""
KEEP_AGAIN: Final = 1.0
LAG_EVERY: Final = 5.0
MOST_READ: Final = 16 * 2**20
"""Bytes that are read at once."""
TELL_EVERY: Final = 60.0
KEPT_AT_ONCE: Final = 500
SLOW_LANE: Final = "trigger"
"""Ten seconds a job, where the others take tens or hundreds a second."""

log = structlog.get_logger()


class Reader:
    """Reads until `stop`; `keep` and `watch_lag` run beside."""

    def __init__(
        self, queue: Queue, consumers: Mapping[str | None, WorkspaceTask], parser: MessageParser, prefetch: int,
        conditions: Conditions, memory: int = DEFAULTS.memory,
    ) -> None:
        self.queue = queue
        self.lag: int | None = None
        """Messages without an end, as the broker told last."""
        self.beside: list[UnackedMessage] = []
        """In hand, and taken on by nobody yet: they are tried again."""
        self._consumers = consumers
        self._parser = parser
        self._conditions = conditions
        self._condition = f"queue {queue.source}"
        self._policy = PrefetchPolicy(prefetch)
        self._memory = memory
        self._told_at = float("-inf")
        self._lanes: set[LaneName] = set()
        self._tried_at = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        conditions.miss(self._condition, "not yet read")
        queue.on_revoked = self.withdraw

    def stop(self) -> None:
        """Read nothing more."""
        self._stop.set()

    async def run(self) -> None:
        """Read until `stop`; then give back what nobody has taken on."""
        try:
            await self._read()
        finally:
            await requeue(self._take_beside())

    async def _read(self) -> None:
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
            await asyncio.sleep(self._keep_after())
            try:
                if self.queue.keep_every is not None:
                    await self._keep_all()
            except QueueError as error:
                log.warning("messages in hand could not be kept", error=str(error))
            now = self._loop.time()
            for consumer in self._consumers.values():
                consumer.requeue(consumer.in_flight.overdue(now))

    def _keep_after(self) -> float:
        """Seconds until messages are kept again: soon after a broker that did not hear it, for their time goes on."""
        every = self.queue.keep_every
        if every is None:
            return MOST_WAIT
        return every if self.queue.alive else min(every, KEEP_AGAIN)

    async def withdraw(self, messages: Collection[Message]) -> None:
        """Another reader's soon: start none of these any more; returns when the jobs that are under way have ended."""
        gone = set(messages)
        self.beside = [one for one in self.beside if one.message not in gone]
        for consumer in self._consumers.values():
            waiting = set(consumer.in_flight.unstarted())
            consumer.requeue([key for key in consumer.in_flight.keys_of(gone) if key in waiting])
        in_flight = [consumer.in_flight for consumer in self._consumers.values()]
        while any(one.message in gone for some in in_flight for one in some):  # noqa: ASYNC110 - messages tell nobody
            await asyncio.sleep(LOOK_AGAIN)

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
        mine = [one.message for one in (*in_hand, *self.beside) if one.queue is self.queue]
        for start in range(0, len(mine), KEPT_AT_ONCE):
            await self.queue.keep(mine[start : start + KEPT_AT_ONCE])

    async def _read_once(self) -> None:
        await self._compare_memories()
        if self.beside and self._loop.time() - self._tried_at >= TRY_AGAIN:
            self._tried_at = self._loop.time()
            await self._take_on(self._take_beside())
        most = self._most()
        if not most or not any(consumer.works for consumer in self._consumers.values()):
            await self._rest(LOOK_AGAIN)
            return
        read = await unless(self._stop, self.queue.read(most)) or ()  # the queue keeps what came else
        left = await self._take_on([UnackedMessage(self.queue, message, self._loop.time()) for message in read])
        if left and left == len(read):
            await self._rest(FULL_WAIT)

    def _most(self) -> int:
        """Messages to read now; 0 while there is no place for one, or no memory."""
        in_flight = [consumer.in_flight for consumer in self._consumers.values()]
        places = sum(one.places_of(self.queue) for one in in_flight)
        size = sum(one.size for one in in_flight) + sum(one.size for one in self.beside)
        full = size >= self._memory
        if full and self._loop.time() - self._told_at >= TELL_EVERY:
            self._told_at = self._loop.time()
            log.info("the memory is full of messages; nothing more is read until some have ended", bytes=size)
        self.queue.read_bytes = min(MOST_READ, max(0, self._memory - size) // 2)
        return 0 if full else self._policy.most(places, self._loop.time())

    async def _put_beside(self, messages: Sequence[UnackedMessage], *, works: bool) -> None:
        """Try these again soon; but those of a workspace that does not work here go back, if that costs them nothing.

        A broker that counts it would drop a message that was given back often, though it was never tried.
        """
        late = self._loop.time() - (self.queue.ack_timeout or float("inf"))
        back = [one for one in messages if one.since < late or not (works or self.queue.counts_returns)]
        self.beside += [one for one in messages if one not in back]
        await requeue(back, BACK_AFTER)

    def _take_beside(self) -> list[UnackedMessage]:
        taken, self.beside = self.beside, []
        return taken

    async def _compare_memories(self) -> None:
        """Before the first read for each of them: what was given out before they began is not in them."""
        for consumer in self._consumers.values():
            await consumer.compare(self.queue)

    async def _take_on(self, messages: Sequence[UnackedMessage]) -> int:
        """To the workspaces with them; returns how many could not be taken on now."""
        arrived: defaultdict[str | None, list[tuple[Job, UnackedMessage]]] = defaultdict(list)
        refused: list[UnackedMessage] = []
        for unacked in messages:
            found = await run_step(len(unacked.message.data), self._parser.parse, unacked.message)
            if isinstance(found, Outcome):
                refused += self._refuse(unacked, found)
            elif found.workspace not in self._consumers:
                unknown = Problem("bad_workspace", "workspace", "no workspace of this name is configured")
                refused += self._refuse(unacked, invalid(found, (unknown,)))
            else:
                arrived[found.workspace].append((found, unacked))
                self._saw(found)
        number = len(refused)
        await self._put_beside(refused, works=False)
        for name, jobs in arrived.items():
            left = await self._consumers[name].take_on(jobs)
            number += len(left)
            await self._put_beside(left, works=self._consumers[name].works)
        return number

    def _saw(self, job: Job) -> None:
        """Note where the queue's jobs go; and tell once that slow ones stand before fast ones."""
        self._policy.saw(self._consumers[job.workspace], job, self._loop.time())
        if job.kind.lane not in self._lanes:
            self._lanes.add(job.kind.lane)
            if SLOW_LANE in self._lanes and len(self._lanes) > 1:
                log.warning(
                    "broadcasts share a queue with faster kinds: they are parked in memory, and once that is full the"
                    " others wait for them; give them a queue of their own", queue=self.queue.source,
                )

    def _refuse(self, message: UnackedMessage, outcome: Outcome) -> list[UnackedMessage]:
        """Have the refusal recorded by any workspace that works; if there is none, the message waits."""
        for consumer in self._consumers.values():
            if consumer.works:
                consumer.refuse(message, outcome)
                return []
        return [message]

    async def _rest(self, seconds: float) -> None:
        with move_on_after(seconds):
            await self._stop.wait()
