"""A Lane: a pacer with its crew. It hands jobs over just ahead of their slots, and starts them in time.

Backlog --pick--> HandOver (ledger) --ready--> [turn: pacer] --> Crew: Executor --> outcome, or back to the Backlog
                                                                      |
                                   pacer, guard, breaker <-- Governor-+
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sender.engine.attempt_pool import Crew
from sender.engine.attempt_runner import Executor
from sender.engine.backlog import Backlog
from sender.engine.feedback import Governor
from sender.engine.hand_over import HandOver
from sender.engine.job_execution import Delivery
from sender.engine.watchdog import Watchdog
from sender.errors import FaultError, HaltError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.engine.attempt_pool import Hand
    from sender.engine.breaker import Breaker
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import Desk
    from sender.engine.trigger_follower import Triggers
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.pacing.guard import Guard
    from sender.pacing.pacer import Pace


class Lane:
    """One of `send`, `trigger`, `app`, at work."""

    def __init__(
        self,
        name: LaneName,
        desk: Desk,
        pacer: Pace,
        queue: JobQueue,
        breaker: Breaker,
        *,
        guard: Guard | None = None,
        triggers: Triggers | None = None,
        concurrency: int = 256,
    ) -> None:
        self.name = name
        self.pacer = pacer
        self.queue = queue
        self.breaker = breaker
        self._desk = desk
        self._triggers = triggers
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._backlog = Backlog(queue, desk)
        self._hand_over = HandOver(self._backlog, queue, pacer, desk, most=concurrency)
        self._governor = Governor(name, desk, pacer, breaker, guard, on_return=lambda: self._crew.write_off())
        executor = Executor(name, desk, queue, self._backlog, self._governor, triggers)
        self._crew = Crew(executor.attempt, breaker, self._attempt_ended, concurrency=concurrency)
        self._watchdog = Watchdog(name, desk, breaker, self._crew, self._changed.set)
        self._fed = False
        self._stopping = False
        self._blocked = False
        """Whether there is nothing that may be started."""
        if triggers is not None:
            triggers.on_change = self._changed.set

    def accept(self, job: Job) -> None:
        """Take on an admitted job."""
        self.accept_delivery(Delivery(job))

    def accept_delivery(self, delivery: Delivery) -> None:
        """Take on a job that is in the engine's hands already."""
        self.queue.put(delivery)
        self._changed.set()

    def take_again(self, deliveries: Iterable[Delivery]) -> None:
        """Take up jobs that ended in doubt and surely were not accepted, for another `run` after the first."""
        self._stopping = False
        self._backlog.begin()
        for delivery in deliveries:
            self.queue.put(delivery)

    def fed(self) -> None:
        """No further job will come; `run` returns when the last one has ended."""
        self._fed = True
        self._changed.set()

    def stop(self) -> None:
        """Start nothing more; `run` returns when what is in hand has ended."""
        self._stopping = True
        self._changed.set()

    def abort(self) -> None:
        """Stop, and let go of what is in hand at once: what was written becomes in doubt."""
        self.stop()
        self._crew.abort()

    @property
    def stopping(self) -> bool:
        """Whether nothing further is started."""
        return self._stopping

    @property
    def halted_kinds(self) -> set[str]:
        """Kinds that the API does not allow."""
        return self._desk.halted_kinds

    @property
    def http_429(self) -> int:
        """Requests that the API answered with 429."""
        return self._governor.http_429

    @property
    def in_hand(self) -> int:
        """Requests under way."""
        return len(self._crew)

    @property
    def waiting(self) -> int:
        """Jobs taken on and not under way."""
        return len(self._backlog) + len(self._hand_over.ready)

    @property
    def demand(self) -> tuple[int, int, int]:
        """Jobs that could start now: high, normal, low."""
        if not self._may_start():
            return 0, 0, 0
        high, normal, low = self.queue.startable
        return high, normal + len(self._hand_over.ready) + self._backlog.retries, low

    async def run(self) -> list[Delivery]:
        """Work until every job has ended, or `stop`; returns those that were not started or went back."""
        watch = asyncio.create_task(self._watchdog.run(), name=f"{self.name}: watch")
        start = asyncio.create_task(self._start(), name=f"{self.name}: start")
        try:
            await self._keep_handed_over()
            await self._settle_down()
        finally:
            watch.cancel()
            start.cancel()
            self.abort()
            await asyncio.gather(watch, start, return_exceptions=True)
            await self._crew.wait_closed()
        left = self._backlog.left(list(self._hand_over.ready))
        await self._hand_over.release()
        return left

    async def _settle_down(self) -> None:
        while self._crew or (self._hand_over.ready and not self._stopping):
            self._changed.clear()
            await self._changed.wait()

    async def _keep_handed_over(self) -> None:
        """Keep the next slots' jobs handed over, until there are none left or the lane stops."""
        while not self._stopping:
            batch, wait_until = self._pick()
            if batch:
                await self._hand_over.claim(batch)
                self._changed.set()
            elif self._fed and not self.waiting and not self._crew:
                return
            else:
                await self._wait(wait_until)

    def _pick(self) -> tuple[list[Delivery], float | None]:
        return self._hand_over.pick(self._loop.time()) if self._queue_open() else ([], None)

    async def _start(self) -> None:
        """Start what is handed over, each in its slot."""
        ready = self._hand_over.ready
        while True:
            while not ready or not self._may_start():
                if ready or not self.waiting:
                    self.pacer.rest()
                await self._wait_for_work()
            asked = self._loop.time()
            turn = await self.pacer.turn()
            self._desk.observer.observe_turn(self.name, self._loop.time() - asked)
            if not ready or not self._may_start():
                turn.give_back()
                continue
            self._crew.start(ready.popleft(), turn)
            if self._hand_over.low:
                self._changed.set()

    def _may_start(self) -> bool:
        return not self._stopping and self._queue_open() and self._crew.may_start()

    def _queue_open(self) -> bool:
        """Whether the API takes another trigger into its queue; always so in the other lanes."""
        return self._triggers is None or self._triggers.open

    def _attempt_ended(self, hand: Hand, error: BaseException | None) -> None:
        if not hand.begun:
            hand.turn.give_back()
            self._hand_over.ready.appendleft(hand.delivery)
        if self._blocked or self._hand_over.low or not self._crew:  # else nobody could do anything about it yet
            self._changed.set()
        if error is not None:
            self._desk.halt(error if isinstance(error, HaltError) else FaultError(error))

    async def _wait_for_work(self) -> None:
        self._blocked = True
        try:
            await self._wait(None)
        finally:
            self._blocked = False

    async def _wait(self, until: float | None) -> None:
        """Wait for a change, at most until that loop time."""
        self._changed.clear()
        timer = None if until is None else self._loop.call_at(until, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if timer is not None:
                timer.cancel()
