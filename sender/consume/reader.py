"""A Reader takes messages from one queue, no more than can be started soon, and hands each to its station."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.prefetch import PrefetchPolicy
from sender.consume.requeue import end_all, give_back
from sender.consume.unacked import UnackedMessage
from sender.jobs.job import Invalid, Line
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.queues import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sender.config.settings import Settings
    from sender.consume.acknowledger import Acknowledger
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.jobs.job import Job
    from sender.queues import Message, Queue
    from sender.runtime.conditions import Conditions
    from sender.validation.parser import Parser

FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 5.0
FULL_WAIT: Final = 0.5
"""Seconds without reading after a whole batch had to be given back: nobody gains by passing it around."""
LOOK_AGAIN: Final = 0.05
LAG_EVERY: Final = 5.0

log = structlog.get_logger()


class Reader:
    """Reads until `stop`."""

    def __init__(
        self, queue: Queue, consumers: Mapping[str | None, WorkspaceConsumer], parser: Parser, settings: Settings,
        acknowledger: Acknowledger, conditions: Conditions, look_back: Callable[[Queue], Awaitable[None]] | None = None,
    ) -> None:
        self.queue = queue
        self.lag: int | None = None
        """Messages that wait, as the broker told last."""
        self._consumers = consumers
        self._parser = parser
        self._settings = settings
        self._acknowledger = acknowledger
        self._conditions = conditions
        self._condition = f"queue {queue.source}"
        self._appetite = PrefetchPolicy(settings.prefetch)
        self._number = 0
        self._look_back = look_back
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Read nothing more."""
        self._stop.set()

    async def run(self) -> None:
        """Read until `stop`."""
        lag = asyncio.create_task(self._look_at_lag(), name="lag")
        wait = FIRST_WAIT
        try:
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
        finally:
            await end_all([lag])

    async def keep(self) -> None:
        """Keep what is in hand from returning to the queue, and give back in time what it would give to another
        anyway; until cancelled."""
        while True:
            await asyncio.sleep(self.queue.keep_every or MOST_WAIT)
            try:
                if self.queue.keep_every is not None and (mine := self._in_hand()):
                    await self.queue.keep(mine)
            except QueueError as error:
                log.warning("messages in hand could not be kept", error=str(error))
            await self._give_back_overdue()

    def _in_hand(self) -> list[Message]:
        holdings = [
            one for workspace_consumer in self._consumers.values() for one in workspace_consumer.holdings
        ] + self._acknowledger.holdings
        return [one.message for one in holdings if one.queue is self.queue]

    async def _read_once(self) -> None:
        if self._look_back is not None:
            await self._look_back(self.queue)
            self._look_back = None
        in_hand = sum(one.holdings.of(self.queue) for one in self._consumers.values()) + self._acknowledger.of(
            self.queue
        )
        most = self._appetite.most(in_hand, self._loop.time())
        if not most or not any(workspace_consumer.works for workspace_consumer in self._consumers.values()):
            await self._rest(LOOK_AGAIN)
            return
        messages = await self._read(most)
        if not messages:
            return
        back = await self._take_on(messages)
        await give_back(back)
        if len(back) == len(messages):
            await self._rest(FULL_WAIT)

    async def _read(self, most: int) -> Sequence[Message]:
        """What the queue gives, or nothing as soon as `stop` was called."""
        reading = asyncio.create_task(_as_coroutine(self.queue, most))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not reading.done():
                reading.cancel()  # the broker's side keeps what came, see Queue.read
                await asyncio.gather(reading, return_exceptions=True)
        return () if reading.cancelled() else reading.result()

    async def _take_on(self, messages: Sequence[Message]) -> list[UnackedMessage]:
        """To the stations with them; returns what has to be given back."""
        arrived: defaultdict[str | None, list[tuple[Job, UnackedMessage]]] = defaultdict(list)
        back: list[UnackedMessage] = []
        for message in messages:
            holding = UnackedMessage(self.queue, message, self._loop.time())
            found = self._parse(message)
            if isinstance(found, Invalid):
                back += self._refuse(holding, _invalid(found, found.problems))
            elif found.workspace not in self._consumers:
                unknown = Problem("bad_workspace", "workspace", "no workspace of this name is configured")
                back += self._refuse(holding, _invalid(found, (unknown,)))
            else:
                arrived[found.workspace].append((found, holding))
                self._appetite.saw(self._consumers[found.workspace], found, self._loop.time())
        for name, jobs in arrived.items():
            back += await self._consumers[name].take_on(jobs)
        return back

    def _parse(self, message: Message) -> Job | Invalid:
        self._number += 1
        identity = None
        if self._settings.identity == "message":
            identity = (message.id, f"{message.source}\n{message.id}")
        line = Line(message.source, self._number, message.data, None, identity, message.priority or "normal")
        try:
            found = self._parser.parse(line, time.time())
        except Exception:
            if message.deliveries <= self._settings.max_deliveries:
                raise  # a fault of our own ends the consumer, and says where; the message comes again
            text = f"it was delivered {message.deliveries - 1} times, and nobody could read it"
            found = Invalid(None, None, line.source, line.number, (Problem("too_many_deliveries", None, text),))
        late = isinstance(found, Invalid) and found.problems[0].code == "expired"
        if late and message.deliveries > 1:  # it may have been sent in time: the memory knows, else the lane says it
            return self._parser.parse(line, 0.0)
        return found

    def _refuse(self, holding: UnackedMessage, outcome: Outcome) -> list[UnackedMessage]:
        """Have the refusal recorded by any station that works; if there is none, the message goes back."""
        for workspace_consumer in self._consumers.values():
            if workspace_consumer.works:
                workspace_consumer.refuse(holding, outcome)
                return []
        return [holding]

    async def _give_back_overdue(self) -> None:
        now = self._loop.time()
        for workspace_consumer in self._consumers.values():
            await give_back(workspace_consumer.withdraw(workspace_consumer.holdings.overdue(now)))

    async def _look_at_lag(self) -> None:
        while True:
            try:
                self.lag = await self.queue.lag()
            except QueueError:
                self.lag = None
            await asyncio.sleep(LAG_EVERY)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


async def _as_coroutine(queue: Queue, most: int) -> Sequence[Message]:
    return await queue.read(most)


def _invalid(found: Invalid | Job, problems: tuple[Problem, ...]) -> Outcome:
    kind = found.kind if isinstance(found, Invalid) else found.kind.name
    return Outcome(
        found.id, kind, "invalid", found.source, found.line,
        problems=problems, warnings=found.warnings, meta=found.meta,
    )
