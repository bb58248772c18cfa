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
from sender.engine.breaker import Breaker
from sender.engine.feedback import ResponseFeedback
from sender.engine.forbidden_jobs import ForbiddenJobs
from sender.engine.hand_over import AHEAD, HandOver
from sender.engine.job_execution import JobExecution
from sender.engine.outage import Outage
from sender.engine.watchdog import Watchdog
from sender.errors import FaultError, HaltError
from sender.runtime.tasks import close_with, forever

if TYPE_CHECKING:
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import LaneContext
    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Pace
    from sender.engine.pacing.schedule import Schedule
    from sender.engine.trigger_follower import TriggerFollower
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName


class Lane:
    """One of `send`, `trigger`, `app`, at work."""

    def __init__(
        self,
        name: LaneName,
        context: LaneContext,
        pacer: Pace,
        queue: JobQueue,
        *,
        guard: Guard | None = None,
        triggers: TriggerFollower | None = None,
        concurrency: int = 256,
    ) -> None:
        self.name = name
        self.pacer = pacer
        self.queue = queue
        self.breaker = Breaker(pacer.rate)
        self._context = context
        self._triggers = triggers
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._backlog = Backlog(queue, context)
        self._hand_over = HandOver(self._backlog, queue, pacer, context, most=concurrency)
        outage = Outage(name, context)
        self._feedback = ResponseFeedback(name, context, pacer, self.breaker, guard, outage)
        self._forbidden = ForbiddenJobs(self._backlog, context.kinds)
        runner = AttemptRunner(name, context, self._backlog, self._forbidden, self._feedback, triggers)
        self._pool = AttemptPool(runner, self.breaker, self._attempt_ended, concurrency=concurrency)
        self._watchdog = Watchdog(
            context.api, self.breaker, self._pool, outage, self._forbidden,
            has_work=self._has_work, on_change=self._changed.set,
        )
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
        self._idle.clear()
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

    async def run(self) -> None:
        """Work until `stop`, and then until what is in hand has ended."""
        try:
            async with asyncio.TaskGroup() as group:
                works = (self._watchdog.run(), self._start())
                beside = [group.create_task(forever(work, f"lane {self.name}")) for work in works]
                for task, work in zip(beside, works, strict=True):
                    close_with(task, work)
                await self._keep_handed_over()
                while self._pool:
                    await self._wait(None)
                for task in beside:
                    task.cancel()
        finally:
            await self._end()

    async def drained(self) -> None:
        """Return when no job waits or is under way, or when the lane has ended; no further job is to come."""
        await self._idle.wait()
        self._forbidden.rule()

    async def _end(self) -> None:
        self.abort()
        await self._pool.wait_closed()
        self._forbidden.leave_all()
        self._backlog.leave_all()
        try:
            await self._hand_over.release()
            if self._context.schedule is not None:
                await self._context.schedule.close(self.name)
        finally:
            self._idle.set()

    async def _keep_handed_over(self) -> None:
        """Keep the next slots' jobs handed over, until the lane stops."""
        while not self._stopping:
            batch, wait_until = self._pick()
            if batch:
                await self._hand_over.claim(batch)
                self._changed.set()
                continue
            if not self._has_work():
                self._idle.set()
            await self._wait(wait_until)

    def _pick(self) -> tuple[list[JobExecution], float | None]:
        if (closed_until := self._closed_until()) is not None:
            return [], closed_until
        return self._hand_over.pick(self._loop.time()) if self._queue_open() else ([], None)

    def _closed_until(self) -> float | None:
        """When to ask again, where the schedule lets no job start that would be handed over now."""
        schedule, now = self._context.schedule, self._loop.time()
        if schedule is None or not self._has_work():
            return None
        at = schedule.opens_at(self.name, AHEAD + 1 / self.pacer.rate)
        return at if at > now else None

    async def _start(self) -> None:
        """Start what is handed over, each in its slot."""
        ready, schedule = self._hand_over.ready, self._context.schedule
        while True:
            while not ready or not self._may_start():
                if ready or not self.waiting:
                    self.pacer.rest()
                await self._wait_for_work()
            if schedule is not None and not await self._admitted(schedule):
                continue
            asked = self._loop.time()
            permit = await self.pacer.acquire()
            self._context.observer.observe_turn(self.name, self._loop.time() - asked)
            if not ready or not self._may_start() or (schedule is not None and self._closed(schedule)):
                permit.cancel()
                continue
            if schedule is not None:
                schedule.started(self.name)
            self._pool.start(ready.popleft(), permit)
            if self._hand_over.low:
                self._changed.set()

    def _closed(self, schedule: Schedule) -> bool:
        """Whether the schedule has closed while the permit was waited for."""
        return schedule.opens_at(self.name) > self._loop.time()

    async def _admitted(self, schedule: Schedule) -> bool:
        """Whether the schedule lets a job start now; else this waits, and what is handed over goes back."""
        at = await schedule.admit(self.name, self.pacer)
        if at <= self._loop.time():
            return True
        await self._hand_over.give_back(self._loop.time())
        self.pacer.rest()
        await self._wait(at)
        return False

    def _has_work(self) -> bool:
        return self.waiting > 0 or len(self._pool) > 0

    def _may_start(self) -> bool:
        return not self._stopping and self._queue_open() and self._pool.may_start()

    def _queue_open(self) -> bool:
        """Whether the API takes another trigger into its queue; always so in the other lanes."""
        return self._triggers is None or self._triggers.has_room(len(self._pool))

    def _attempt_ended(self, error: BaseException | None) -> None:
        over = not self._pool and (self._stopping or not self.waiting)
        if over or self._blocked or self._hand_over.low:  # else nobody could do anything about it yet
            self._changed.set()
        if error is not None:
            self._context.listener.halt(error if isinstance(error, HaltError) else FaultError(error))

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
