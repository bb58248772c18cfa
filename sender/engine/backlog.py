"""The Backlog of a lane: what it has taken on and not handed over yet, first tries by rank, further ones by time."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from sender.jobs.problem import Problem
from sender.outcomes.recorder import Ended

if TYPE_CHECKING:
    from sender.engine.job_execution import Delivery
    from sender.engine.job_queue import JobQueue
    from sender.engine.lane_context import Desk


class Backlog:
    """Gives out the next job that may start; a retry whose time has come goes first."""

    def __init__(self, queue: JobQueue, desk: Desk) -> None:
        self._queue = queue
        self._desk = desk
        self._retries: list[tuple[float, int, Delivery]] = []
        self._order = count()
        self._left: list[Delivery] = []

    def __len__(self) -> int:
        return len(self._queue) + len(self._retries)

    @property
    def retries(self) -> int:
        """Jobs that wait for another try."""
        return len(self._retries)

    @property
    def next_retry_at(self) -> float | None:
        """Loop time at which the first of them may be tried again."""
        return self._retries[0][0] if self._retries else None

    def take(self, now: float) -> Delivery | None:
        """The next job that may start now; those that no longer may are ended or left on the way."""
        while (delivery := self._next(now)) is not None:
            if delivery.withdrawn:
                self._queue.finish(delivery)
            elif delivery.job.kind.name in self._desk.halted_kinds:
                self.leave(delivery)
            elif self._expired(delivery):
                self._end_expired(delivery)
            else:
                return delivery
        return None

    def put_back(self, delivery: Delivery, due: float) -> None:
        """Have it tried again from this loop time on."""
        delivery.due = due
        heapq.heappush(self._retries, (due, next(self._order), delivery))

    def leave(self, delivery: Delivery) -> None:
        """Leave it to the next run."""
        self._queue.finish(delivery)
        self._left.append(delivery)

    def begin(self) -> None:
        """Those left so far have been told of."""
        self._left.clear()

    def left(self, handed_over: list[Delivery]) -> list[Delivery]:
        """All that was not started or went back, `handed_over` ones among it; nothing waits here any more."""
        left = [*self._left, *handed_over, *self._queue.drain(), *(entry[2] for entry in self._retries)]
        self._retries.clear()
        return left

    def _next(self, now: float) -> Delivery | None:
        if self._retries and self._retries[0][0] <= now:
            return heapq.heappop(self._retries)[2]
        return self._queue.take()

    def _expired(self, delivery: Delivery) -> bool:
        expires_at = delivery.job.expires_at
        return expires_at is not None and not delivery.attempts and self._desk.wall() > expires_at

    def _end_expired(self, delivery: Delivery) -> None:
        problem = Problem(
            "expired", "expires_at", "the job's time was over before it could start; it was not requested"
        )
        self._queue.finish(delivery)
        self._desk.identities.ended(delivery.job.key)
        self._desk.record(Ended(delivery.outcome("invalid", problem), None, key=delivery.job.key))
