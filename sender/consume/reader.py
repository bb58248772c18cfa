"""A Reader takes messages from one queue, no more than can be started soon, and hands each to its station."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.holdings import Holding
from sender.consume.station import LOST_HORIZON
from sender.job import Invalid, Line
from sender.outcome import Outcome
from sender.problem import Problem
from sender.queues import QueueError, QueueLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.consume.holdings import Holdings
    from sender.consume.station import Station
    from sender.health import Conditions
    from sender.job import Job
    from sender.parsing import Parser
    from sender.queues import Message, Queue
    from sender.settings import Settings

MOST_AT_ONCE: Final = 50
FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 5.0
FULL_WAIT: Final = 0.5
"""Seconds without reading after a whole batch had to be given back: nobody gains by passing it around."""
LAG_EVERY: Final = 5.0

log = structlog.get_logger()


class Reader:
    """Reads until `stop`."""

    def __init__(
        self, queue: Queue, stations: Mapping[str | None, Station], parser: Parser, settings: Settings,
        holdings: Holdings, conditions: Conditions, *, lost_at: float | None = None,
    ) -> None:  # fmt: skip
        self.queue = queue
        self.lag: int | None = None
        """Messages that wait, as the broker told last."""
        self._stations = stations
        self._parser = parser
        self._settings = settings
        self._holdings = holdings
        self._conditions = conditions
        self._lost_at = lost_at
        self._condition = f"queue {queue.source}"
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Read nothing more."""
        self._stop.set()

    async def run(self) -> None:
        """Read, and keep what is in hand from returning to the queue, until `stop`."""
        beside = [asyncio.create_task(self._keep()), asyncio.create_task(self._look_at_lag())]
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
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _read_once(self) -> None:
        room = min(self._settings.prefetch - self._holdings.of(self.queue), MOST_AT_ONCE)
        if room <= 0 or not self._anyone_works():
            await self._rest(0.05)
            return
        messages = await self._read(room)
        if not messages:
            return
        back = await self._take_on(messages)
        if back:
            await self.queue.give_back([holding.message for holding in back])
            if len(back) == len(messages):
                await self._rest(FULL_WAIT)

    async def _read(self, most: int) -> Sequence[Message]:
        """What the queue gives, or nothing as soon as `stop` was called."""
        reading = asyncio.create_task(_as_coroutine(self.queue, most))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            reading.cancel()  # the broker's side keeps what came, see Queue.read
            await asyncio.gather(reading, return_exceptions=True)
        if reading.cancelled():
            return ()
        return reading.result()

    async def _take_on(self, messages: Sequence[Message]) -> list[Holding]:
        """To the stations with them; returns what has to be given back."""
        arrived: defaultdict[str | None, list[tuple[Job, Holding]]] = defaultdict(list)
        for message in messages:
            holding = Holding(self.queue, message, self._loop.time())
            job = self._job(message, holding)
            if job is not None:
                arrived[job.workspace].append((job, holding))
        back: list[Holding] = []
        for name, jobs in arrived.items():
            back += await self._stations[name].take_on(jobs)
        return back

    def _job(self, message: Message, holding: Holding) -> Job | None:
        """The message's job; None when it goes another way."""
        self._number += 1
        identity = None
        if self._settings.identity == "message":
            identity = (message.id, f"{message.source}\n{message.id}")
        line = Line(message.source, self._number, message.data, None, identity, message.priority or "normal")
        wall = time.time()
        found = self._parser.parse(line, wall)
        lately = self._lost_at is not None and wall - self._lost_at < LOST_HORIZON
        holding.suspect = lately and message.deliveries > 1
        home = self._stations.get(found.workspace if not isinstance(found, Invalid) else None)
        if isinstance(found, Invalid) or home is None:
            self._refuse(found, holding)
        else:
            return found
        return None

    def _refuse(self, found: Invalid | Job, holding: Holding) -> None:
        problems = found.problems if isinstance(found, Invalid) else (
            Problem("bad_workspace", "workspace", "no workspace of this name is configured"),
        )  # fmt: skip
        next(iter(self._stations.values())).refuse(holding, _invalid(found, problems))

    def _anyone_works(self) -> bool:
        return any(station.halted is None for station in self._stations.values())

    async def _keep(self) -> None:
        """Tell the broker that we are still at work, and give back in time what it would give to another anyway."""
        while True:
            await asyncio.sleep(self.queue.keep_every or MOST_WAIT)
            mine = [holding.message for holding in self._holdings if holding.queue is self.queue]
            try:
                if mine and self.queue.keep_every is not None:
                    await self.queue.keep(mine)
                await self._give_back_overdue()
            except QueueError as error:
                log.warning("messages in hand could not be kept", error=str(error))

    async def _give_back_overdue(self) -> None:
        overdue = self._holdings.overdue(self._loop.time())
        messages = [one.message for one in self._holdings if one.queue is self.queue and _key_in(one, overdue)]
        for station in self._stations.values():
            station.withdraw(overdue)
        if messages:
            await self.queue.give_back(messages)

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


def _key_in(holding: Holding, keys: Sequence[str]) -> bool:
    return holding.delivery is not None and holding.delivery.job.key in keys


def _invalid(found: Invalid | Job, problems: tuple[Problem, ...]) -> Outcome:
    kind = found.kind if isinstance(found, Invalid) else found.kind.name
    return Outcome(
        found.id, kind, "invalid", found.source, found.line,
        problems=problems, warnings=found.warnings, meta=found.meta,
    )  # fmt: skip
