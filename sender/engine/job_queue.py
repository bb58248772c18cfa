"""The JobQueue of a lane: bounded in jobs and bytes, high before normal before low, one at a time per resource."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sender.engine.job_execution import JobExecution
    from sender.jobs.job import Priority

LOW_SHARE: Final = 20
"""Every 20th job comes from the lower ranks when they wait: 5 % of the lane at least."""


ORDER: Final[tuple[Priority, ...]] = ("high", "normal", "low")
LOW_FIRST: Final[tuple[Priority, ...]] = ("low", "normal", "high")


class JobQueue:
    """Deliveries waiting for their first start, in input order within a priority."""

    def __init__(self, most_jobs: int, most_bytes: int) -> None:
        self._most_jobs = most_jobs
        self._most_bytes = most_bytes
        self._ranks: dict[Priority, deque[JobExecution]] = {"high": deque(), "normal": deque(), "low": deque()}
        self._busy: dict[str, tuple[JobExecution, deque[JobExecution]]] = {}
        """Whose turn it is on a resource, and who waits for it."""
        self._jobs = 0
        """All that wait, parked ones too."""
        self._bytes = 0
        self._taken = 0
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return self._jobs

    @property
    def startable(self) -> tuple[int, int, int]:
        """Jobs that may start now, those on a busy resource left out: high, normal, low."""
        high, normal, low = map(len, self._ranks.values())
        return high, normal, low

    @property
    def room(self) -> tuple[int, int]:
        """(jobs, bytes) that may be added; an empty queue takes one job of any size."""
        return self._most_jobs - self._jobs, self._most_bytes - self._bytes

    async def wait_for_room(self) -> None:
        """Return once at least one job may be added."""
        await self._room.wait()

    def put(self, execution: JobExecution) -> None:
        """Add to the end of its rank."""
        job = execution.job
        self._ranks[job.priority].append(execution)
        self._jobs += 1
        self._bytes += len(job.body)
        self._update_room()

    def take(self) -> JobExecution | None:
        """The next that may start now, or None; its resource is busy until `finish`."""
        self._taken += 1
        for rank in ORDER if self._taken % LOW_SHARE else LOW_FIRST:
            waiting = self._ranks[rank]
            while waiting:
                execution = waiting.popleft()
                if self._seize(execution):
                    self._jobs -= 1
                    self._bytes -= len(execution.job.body)
                    self._update_room()
                    return execution
        return None

    def finish(self, execution: JobExecution) -> None:
        """The delivery has left the lane: the next one on its resource may start; told once or more."""
        holder, waiting = self._busy.get(execution.resource or "", (None, None))
        if holder is not execution:
            return
        del self._busy[execution.resource or ""]
        if waiting:
            following = waiting.popleft()
            for later in reversed(waiting):
                self._ranks[later.job.priority].appendleft(later)
            self._ranks[following.job.priority].appendleft(following)

    def drain(self) -> list[JobExecution]:
        """Take out everything that has not been started."""
        left = [execution for rank in self._ranks.values() for execution in rank]
        left += [execution for _, waiting in self._busy.values() for execution in waiting]
        for rank in self._ranks.values():
            rank.clear()
        for _, waiting in self._busy.values():
            waiting.clear()
        self._jobs = self._bytes = 0
        self._update_room()
        return left

    def _seize(self, execution: JobExecution) -> bool:
        resource = execution.resource
        if resource is None:
            return True
        if resource in self._busy:
            self._busy[resource][1].append(execution)
            return False
        self._busy[resource] = execution, deque()
        return True

    def _update_room(self) -> None:
        if self._jobs >= self._most_jobs or self._bytes >= self._most_bytes:
            self._room.clear()
        elif not self._room.is_set():
            self._room.set()
