"""Deadlines of one length for any number of waits, kept by one timer: who began first is the first to be late.

An answer that arrived before its deadline is read, however late the timer comes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

from sender.runtime.after_arrivals import after_arrivals


class Expiring(Protocol):
    """Something that may take too long."""

    def expire(self) -> None:
        """Its time is over; not called any more once it has ended."""


class Deadlines:
    """Expires what takes longer than `seconds`; cheaper than a timer for each of thousands a second."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._ends: dict[Expiring, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, wait: Expiring) -> float:
        """From now on; one deadline for each at a time. Returns when it is, by the loop's clock."""
        self._ends[wait] = end = self._loop.time() + self.seconds
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._look)
        return end

    def end(self, wait: Expiring) -> None:
        """It is over, or was given up: its deadline no longer counts."""
        self._ends.pop(wait, None)

    def close(self) -> None:
        """Keep no more deadlines."""
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        after_arrivals(self._loop, partial(self._strike, self._loop.time()))

    def _strike(self, now: float) -> None:
        """Expire those whose time was over then, and have the timer wait for the next."""
        while self._ends:
            wait, end = next(iter(self._ends.items()))
            if end > now:
                self._timer = self._loop.call_at(end, self._look)
                return
            del self._ends[wait]
            wait.expire()
        self._timer = None
