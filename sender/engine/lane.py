"""A Lane: a pacer with its attempts. It hands jobs over just ahead of their slots, and starts them in time.

Backlog --pick--> HandOver (ledger) --ready--> [pacer: permit] --> AttemptPool: AttemptRunner --> outcome, or Backlog
                                                                            |
                                      pacer, guard, breaker <-- ResponseFeedback
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sender.engine.attempt_pool import AttemptPool
from sender.engine.attempt_runner import AttemptRunner
from sender.engine.backlog import Backlog
from sender.engine.feedback import ResponseFeedback
from sender.engine.hand_over import HandOver
from sender.engine.job_execution import JobExecution
from sender.engine.watchdog import Watchdog
from sender.errors import FaultError, HaltError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.engine.attempt_pool import InFlightAttempt
    from sender.engine.breaker import Breaker
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import LaneContext
    from sender.engine.trigger_follower import TriggerFollower
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.pacing.guard import Guard
    from sender.pacing.pacer import Pace


class Lane:
    """One of `send`, `trigger`, `app`, at work."""

    def __init__(
        self,
        name: LaneName,
        context: LaneContext,
        pacer: Pace,
        queue: JobQueue,
        breaker: Breaker,
        *,
        guard: Guard | None = None,
        triggers: TriggerFollower | None = None,
        concurrency: int = 256,
    ) -> None:
        self.name = name
        self.pacer = pacer
        self.queue = queue
        self.breaker = breaker
        self._context = context
        self._triggers = triggers
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._backlog = Backlog(queue, context)
        self._hand_over = HandOver(self._backlog, queue, pacer, context, most=concurrency)
        self._feedback = ResponseFeedback(
            name, context, pacer, breaker, guard, on_return=lambda: self._pool.write_off()
        )
        runner = AttemptRunner(name, context, queue, self._backlog, self._feedback, triggers)
        self._pool = AttemptPool(runner.attempt, breaker, self._attempt_ended, concurrency=concurrency)
        self._watchdog = Watchdog(name, context, breaker, self._pool, self._changed.set)
        self._fed = False
        self._stopping = False
        self._blocked = False
        """Whether there is nothing that may be started."""
        if triggers is not None:
            triggers.on_change = self._changed.set

    def accept(self, job: Job) -> None:
        """Take on an admitted job."""
        self.accept_execution(JobExecution(job))

    def accept_execution(self, execution: JobExecution) -> None:
        """Take on a job that is in the engine's hands already."""
        self.queue.put(execution)
        self._changed.set()

    def take_again(self, deliveries: Iterable[JobExecution]) -> None:
        """Take up jobs that ended in doubt and surely were not accepted, for another `run` after the first."""
        self._stopping = False
        self._backlog.begin()
        for execution in deliveries:
            self.queue.put(execution)

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
        self._pool.abort()

    @property
    def stopping(self) -> bool:
        """Whether nothing further is started."""
        return self._stopping

    @property
    def halted_kinds(self) -> set[str]:
        """Kinds that the API does not allow."""
        return self._context.halted_kinds

    @property
    def http_429(self) -> int:
        """Requests that the API answered with 429."""
        return self._feedback.http_429

    @property
    def in_hand(self) -> int:
        """Requests under way."""
        return len(self._pool)

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

    async def run(self) -> list[JobExecution]:
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
            await self._pool.wait_closed()
        left = self._backlog.left(list(self._hand_over.ready))
        await self._hand_over.release()
        return left

    async def _settle_down(self) -> None:
        while self._pool or (self._hand_over.ready and not self._stopping):
            self._changed.clear()
            await self._changed.wait()

    async def _keep_handed_over(self) -> None:
        """Keep the next slots' jobs handed over, until there are none left or the lane stops."""
        while not self._stopping:
            batch, wait_until = self._pick()
            if batch:
                await self._hand_over.claim(batch)
                self._changed.set()
            elif self._fed and not self.waiting and not self._pool:
                return
            else:
                await self._wait(wait_until)

    def _pick(self) -> tuple[list[JobExecution], float | None]:
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
            self._context.observer.observe_turn(self.name, self._loop.time() - asked)
            if not ready or not self._may_start():
                turn.give_back()
                continue
            self._pool.start(ready.popleft(), turn)
            if self._hand_over.low:
                self._changed.set()

    def _may_start(self) -> bool:
        return not self._stopping and self._queue_open() and self._pool.may_start()

    def _queue_open(self) -> bool:
        """Whether the API takes another trigger into its queue; always so in the other lanes."""
        return self._triggers is None or self._triggers.open

    def _attempt_ended(self, hand: InFlightAttempt, error: BaseException | None) -> None:
        if not hand.begun:
            hand.turn.give_back()
            self._hand_over.ready.appendleft(hand.execution)
        if self._blocked or self._hand_over.low or not self._pool:  # else nobody could do anything about it yet
            self._changed.set()
        if error is not None:
            self._context.halt(error if isinstance(error, HaltError) else FaultError(error))

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
