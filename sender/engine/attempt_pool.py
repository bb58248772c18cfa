"""The AttemptPool of a lane: its attempts under way, each a task, as many as concurrency and breaker allow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sender.engine.breaker import Breaker
    from sender.engine.job_execution import JobExecution
    from sender.pacing.pacer import Permit


@dataclass(slots=True)
class InFlightAttempt:
    """A started attempt."""

    execution: JobExecution
    turn: Permit
    started: float
    """Loop time."""
    begun: bool = False
    """Whether its task has run at all; one that is cancelled before it has is as if it had not been started."""


class AttemptPool:
    """Starts attempts and knows which are under way."""

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
        self._hands: dict[asyncio.Task[None], InFlightAttempt] = {}
        self._trial: asyncio.Task[None] | None = None
        self._written_off: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._hands)

    def may_start(self) -> bool:
        """Whether another attempt may start: a single trial after an outage, and none while the lane is stalled."""
        if self._breaker.state == "closed":
            in_hand = len(self._hands)
            return in_hand < self._concurrency and in_hand - len(self._written_off) < self._breaker.most_in_hand()
        return self._breaker.state == "trying" and (self._trial is None or self._trial.done())

    def start(self, execution: JobExecution, turn: Permit) -> None:
        """Begin an attempt."""
        hand = InFlightAttempt(execution, turn, self._loop.time())
        task = self._loop.create_task(self._attempt(hand))
        self._hands[task] = hand
        if self._breaker.state == "trying":
            self._trial = task
        task.add_done_callback(self._ended)

    def abort(self) -> None:
        """Let go of all at once."""
        for task in tuple(self._hands):
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when none is under way, however each ends."""
        await asyncio.gather(*self._hands, return_exceptions=True)

    def write_off(self) -> None:
        """What hung before an outage ended explains nothing any more."""
        self._written_off = set(self._hands)

    def stalled(self, now: float) -> bool:
        """Whether answers have stopped coming; trips the breaker if so."""
        in_hand = [hand.started for task, hand in self._hands.items() if task not in self._written_off]
        return bool(in_hand) and self._breaker.stalled(now, len(in_hand), min(in_hand))

    def _ended(self, task: asyncio.Task[None]) -> None:
        hand = self._hands.pop(task)
        self._written_off.discard(task)
        self._on_end(hand, None if task.cancelled() else task.exception())
