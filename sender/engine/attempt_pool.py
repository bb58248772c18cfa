"""The AttemptPool of a lane: its attempts under way, each a task, as many as concurrency and breaker allow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sender.runtime.after_arrivals import after_arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sender.engine.breaker import Breaker
    from sender.engine.job_execution import JobExecution
    from sender.engine.pacing.permit import Permit


@dataclass(slots=True)
class InFlightAttempt:
    """A started attempt."""

    execution: JobExecution
    permit: Permit
    started: float
    """Loop time."""
    begun: bool = False
    """Whether its task has run at all; one that is cancelled before it has is as if it had not been started."""
    interruptible: bool = True
    """Whether it waits for the API; from its answer on it is seen to its end, so that the books know it."""


class AttemptPool:
    """Starts attempts and knows which are under way; whatever ends one of them is told to `on_end`."""

    def __init__(
        self,
        attempt: Callable[[InFlightAttempt], Coroutine[None, None, None]],
        breaker: Breaker,
        on_end: Callable[[InFlightAttempt, BaseException | None], None],
        *,
        concurrency: int,
    ) -> None:
        self._attempt = attempt
        self._breaker = breaker
        self._on_end = on_end
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[asyncio.Task[None], InFlightAttempt] = {}
        self._trial: asyncio.Task[None] | None = None
        self._recoveries = 0
        self._written_off: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def may_start(self) -> bool:
        """Whether another attempt may start: a single trial after an outage, and none while the lane is stalled."""
        if self._breaker.state == "closed":
            self._look_for_recovery()
            number = len(self._under_way)
            return number < self._concurrency and number - len(self._written_off) < self._breaker.most_in_hand()
        return self._breaker.state == "trying" and (self._trial is None or self._trial.done())

    def start(self, execution: JobExecution, permit: Permit) -> None:
        """Begin an attempt."""
        attempt = InFlightAttempt(execution, permit, self._loop.time())
        task = self._loop.create_task(self._attempt(attempt))
        self._under_way[task] = attempt
        if self._breaker.state == "trying":
            self._trial = task
        task.add_done_callback(self._ended)

    def abort(self) -> None:
        """Wait for no answer any more; those that have arrived are read."""
        after_arrivals(self._loop, self._interrupt)

    async def wait_closed(self) -> None:
        """Return when none is under way, however each ends."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def stalled(self, now: float) -> bool:
        """Whether answers have stopped coming; trips the breaker if so."""
        self._look_for_recovery()
        started = [one.started for task, one in self._under_way.items() if task not in self._written_off]
        return bool(started) and self._breaker.stalled(now, len(started), min(started))

    def _interrupt(self) -> None:
        for task, attempt in tuple(self._under_way.items()):
            if attempt.interruptible:
                task.cancel()

    def _look_for_recovery(self) -> None:
        """Attempts that were under way when an outage ended do not count as a stall any more."""
        if self._recoveries != self._breaker.recoveries:
            self._recoveries = self._breaker.recoveries
            self._written_off = set(self._under_way)

    def _ended(self, task: asyncio.Task[None]) -> None:
        attempt = self._under_way.pop(task)
        self._written_off.discard(task)
        self._on_end(attempt, None if task.cancelled() else task.exception())
