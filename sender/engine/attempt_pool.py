"""The AttemptPool of a lane: its attempts under way, as many as concurrency and breaker allow.

    start --Runner.begin--> the API --Runner.answered--> ended
                               |            |
                             abort          +--what takes time: a task--> ended
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sender.runtime.after_arrivals import after_arrivals
from sender.transport import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sender.engine.breaker import Breaker
    from sender.engine.job_execution import JobExecution
    from sender.engine.pacing.permit import Permit
    from sender.transport import OnEnd, Reply, UnderWay

    Work = Coroutine[None, None, None]


@dataclass(slots=True, eq=False)
class InFlightAttempt:
    """A started attempt."""

    execution: JobExecution
    permit: Permit
    started: float
    """Loop time."""
    wire: Wire = field(default_factory=Wire)
    key_version: int = 0
    """Of the API key that it was sent with."""
    request: UnderWay | None = None
    """What waits for the API; from the answer on the attempt is seen to its end, so that the books know it."""
    rest: asyncio.Task[None] | None = None
    """What follows from its answer, where that takes time."""
    interruptible: bool = False
    """Whether the rest asks the API for something that it may do without."""


class Runner(Protocol):
    """Carries attempts out; `sender.engine.attempt_runner.AttemptRunner` is one."""

    def begin(self, attempt: InFlightAttempt, on_end: OnEnd) -> UnderWay:
        """Have its request written."""

    def answered(self, attempt: InFlightAttempt, answer: Reply | BaseException) -> Work | None:
        """This came of it; returns what is left to do, where that takes time."""

    def interrupted(self, attempt: InFlightAttempt) -> Work:
        """Nobody waits for its answer any more: what is left to do."""


class AttemptPool:
    """Starts attempts and knows which are under way; what breaks one of them is told to `on_end`."""

    def __init__(
        self,
        runner: Runner,
        breaker: Breaker,
        on_end: Callable[[BaseException | None], None],
        *,
        concurrency: int,
    ) -> None:
        self._runner = runner
        self._breaker = breaker
        self._on_end = on_end
        self._concurrency = concurrency
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[InFlightAttempt, None] = {}
        """In the order of their starts."""
        self._trial: InFlightAttempt | None = None
        self._recoveries = 0
        self._written_off: set[InFlightAttempt] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._under_way)

    def may_start(self) -> bool:
        """Whether another attempt may start: a single trial after an outage, and none while the lane is stalled."""
        if self._breaker.state == "closed":
            self._look_for_recovery()
            number = len(self._under_way)
            return number < self._concurrency and number - len(self._written_off) < self._breaker.most_in_hand()
        return self._breaker.state == "trying" and self._trial not in self._under_way

    def start(self, execution: JobExecution, permit: Permit) -> None:
        """Begin an attempt."""
        attempt = InFlightAttempt(execution, permit, self._loop.time())
        self._under_way[attempt] = None
        if self._breaker.state == "trying":
            self._trial = attempt
        try:
            attempt.request = self._runner.begin(attempt, partial(self._answered, attempt))
        except Exception as error:  # noqa: BLE001 - whatever it is, the lane is told
            self._ended(attempt, error)

    def abort(self) -> None:
        """Wait for no answer any more; those that have arrived are read."""
        after_arrivals(self._loop, self._interrupt)

    async def wait_closed(self) -> None:
        """Return when none is under way, however each ends."""
        while self._under_way:
            self._empty.clear()
            await self._empty.wait()

    def stalled(self, now: float) -> bool:
        """Whether answers have stopped coming; trips the breaker if so."""
        self._look_for_recovery()
        started = [one.started for one in self._under_way if one not in self._written_off]
        return bool(started) and self._breaker.stalled(now, len(started), min(started))

    def _interrupt(self) -> None:
        for attempt in tuple(self._under_way):
            if attempt.request is not None:
                attempt.request.give_up()
                attempt.request = None
                self._follow(attempt, self._runner.interrupted(attempt))
            elif attempt.rest is not None and attempt.interruptible:
                attempt.rest.cancel()

    def _look_for_recovery(self) -> None:
        """Attempts that were under way when an outage ended do not count as a stall any more."""
        if self._recoveries != self._breaker.recoveries:
            self._recoveries = self._breaker.recoveries
            self._written_off = set(self._under_way)

    def _answered(self, attempt: InFlightAttempt, answer: Reply | BaseException) -> None:
        attempt.request = None
        try:
            rest = self._runner.answered(attempt, answer)
        except Exception as error:  # noqa: BLE001 - as above
            self._ended(attempt, error)
            return
        if rest is None:
            self._ended(attempt, None)
        else:
            self._follow(attempt, rest)

    def _follow(self, attempt: InFlightAttempt, rest: Work) -> None:
        attempt.rest = self._loop.create_task(rest)
        attempt.rest.add_done_callback(partial(self._followed, attempt))

    def _followed(self, attempt: InFlightAttempt, rest: asyncio.Task[None]) -> None:
        self._ended(attempt, None if rest.cancelled() else rest.exception())

    def _ended(self, attempt: InFlightAttempt, error: BaseException | None) -> None:
        del self._under_way[attempt]
        self._written_off.discard(attempt)
        if not self._under_way:
            self._empty.set()
        self._on_end(error)
