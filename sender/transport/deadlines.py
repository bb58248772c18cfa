"""Deadlines of one length for any number of tasks, kept by one timer: who began first is the first to be late.

An answer that arrived before its deadline is read, however late the timer comes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from sender.runtime.after_arrivals import after_arrivals

Task = asyncio.Task[Any]


class Deadlines:
    """Cancels the tasks that take longer than `seconds`; cheaper than a timer for each of thousands a second."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._ends: dict[Task, float] = {}
        self._late: set[Task] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: Task) -> float:
        """From now on; one deadline for a task at a time. Returns when it is, by the loop's clock."""
        self._ends[task] = end = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._look)
        return end

    def end(self, task: Task) -> bool:
        """The task's work is done or broken off; whether its deadline was what cancelled it, and nobody else did."""
        self._ends.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

    def close(self) -> None:
        """Keep no more deadlines."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        after_arrivals(self._loop, partial(self._strike, self._loop.time()))

    def _strike(self, now: float) -> None:
        """Cancel those whose time was over then, and have the timer wait for the next."""
        while self._ends:
            task, end = next(iter(self._ends.items()))
            if end > now:
                self._timer = self._loop.call_at(end, self._look)
                return
            del self._ends[task]
            self._late.add(task)
            task.cancel()
        self._timer = None
