"""A Pacer says when the next request of a lane may be written (docs/delivery-semantics.md, "Lanes and limits").

Two rules, of which the later instant wins:

* slots: request k is due at `t0 + k * step`, absolute, so lateness never adds up; after a stall of the process at most
  `catch_up` slots are made up at once, after a `rest` none: the schedule is anchored anew;
* window: at any instant the requests written in the last window, plus those started and not yet written, are fewer
  than the limit. A request is stamped when its write has returned, so a process that stalls between its permit and
  its write cannot break the ceiling: what is unwritten counts as if it were written now.

The window alone is the ceiling; the slots are what makes the flow even. The slots are a little wider than the window
(`SLACK`), so that the lateness of one second is not inherited by all later ones.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final

from sender.engine.pacing.pace import WriteCounter, window_of
from sender.engine.pacing.permit import Permit
from sender.engine.pacing.waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Caution, Demand
    from sender.jobs.kinds import LaneName

SLACK: Final = 0.0015
"""Seconds by which a window's worth of slots is wider than the window: costs 0.15 % of a per-second rate."""
MARGIN: Final = 0.001
"""Seconds added to the window for the difference between our stamp and the receiving kernel's."""
CATCH_UP: Final = 25
"""Slots: a quarter of a second of stall is made up at 100 a second; the window holds the ceiling all the same."""
LOOK_AGAIN: Final = 0.5
"""Seconds after which a paused lane looks again: whoever asked for the next instant is not told of its end."""


class Pacer(WriteCounter):
    """A Pace for a run alone: at most `rate` requests in any sliding second, permits in the order of asking."""

    def __init__(self, rate: float, *, guard: Caution | None = None, catch_up: int = CATCH_UP) -> None:
        super().__init__()
        self._guard = guard
        self._catch_up = catch_up
        self._loop = asyncio.get_running_loop()
        self._written: deque[float] = deque()
        self._unwritten = 0
        self._next_slot = -math.inf
        self.paused_until = -math.inf
        self._rested = True
        self.paused = False
        self._gate = asyncio.Lock()
        self._asking = 0
        """How many wait at the gate; with none there, a permit that is due is taken past it."""
        self._waiter = Waiter()
        self._limit, self.window = window_of(rate)

    @property
    def rate(self) -> float:
        return self._limit / self.window

    def set_rate(self, rate: float) -> None:
        limit, window = window_of(rate)
        if window > self.window and self.last_written is not None:
            # Writes of a longer window are no longer known one by one: the last one stands for them.
            self.pause_until(self.last_written + window + MARGIN)
        self._limit, self.window = limit, window
        self._next_slot = min(self._next_slot, self._loop.time() + self._step)
        self._waiter.wake()

    async def pause(self) -> None:
        self._set_paused(True)

    async def resume(self) -> None:
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        self.paused = paused
        self._rested = True
        self._waiter.wake()

    def rest(self) -> None:
        self._rested = True

    def pause_until(self, instant: float) -> None:
        self.paused_until = max(self.paused_until, instant)

    def next_at(self, now: float) -> float:
        free_at = self._free_at(now)
        return now + LOOK_AGAIN if self.paused else max(free_at, self._next_slot, self.paused_until)

    def _urgent_at(self, now: float, though_paused: bool) -> float:
        return now + LOOK_AGAIN if self.paused and not though_paused else self._free_at(now)

    def _free_at(self, now: float) -> float:
        """When the window has a place, whoever takes it, paused or not."""
        span = self.window + MARGIN + self._spread
        while self._written and self._written[0] + span <= now:
            self._written.popleft()
        over = self._unwritten + len(self._written) - self._limit
        if over < 0:
            return -math.inf
        return math.inf if over >= len(self._written) else self._written[over] + span

    async def acquire(self) -> Permit:
        now = self._loop.time()
        if not self._asking and self.next_at(now) <= now:
            return self.take(now)
        self._asking += 1
        try:
            async with self._gate:
                while (at := self.next_at(now := self._loop.time())) > now:
                    await self._waiter.sleep_until(at)
                return self.take(now)
        finally:
            self._asking -= 1

    async def look(self) -> None:
        """See `Pace.look`: nobody else pauses a run that is alone."""

    async def acquire_urgent(self, *, though_paused: bool = False) -> Permit:
        while (at := self._urgent_at(now := self._loop.time(), though_paused)) > now:  # noqa: ASYNC110 - for an instant
            await asyncio.sleep(min(at - now, LOOK_AGAIN))
        self._unwritten += 1
        return Permit(self._end_permit)

    @property
    def unwritten(self) -> int:
        """Requests that have their permit and are not written yet."""
        return self._unwritten

    def occupy(self) -> None:
        """A request was written just now that had no permit from here: it counts in the window."""
        now = self._loop.time()
        while self._written and self._written[0] + 2 * self.window < now:
            self._written.popleft()
        self._written.append(now)

    def take(self, now: float) -> Permit:
        """The permit whose instant, `next_at`, has come."""
        step = self._step
        oldest = now if self._rested else now - self._catch_up * step
        self._rested = False
        self._next_slot = max(self._next_slot, self.paused_until, oldest) + step
        self._unwritten += 1
        return Permit(self._end_permit)

    @property
    def _spread(self) -> float:
        return self._guard.spread if self._guard else 0.0

    @property
    def _step(self) -> float:
        share = self._guard.share if self._guard else 1.0
        return (self.window + SLACK + self._spread) / (self._limit * share)

    def _end_permit(self, written: bool) -> None:
        self._unwritten -= 1
        if written:
            now = self._loop.time()
            self._written.append(now)
            self.count_written(now, self.window)
        if not written or self._waiter.until == math.inf:  # a write makes no instant that is known any earlier
            self._waiter.wake()


class LocalPacers:
    """The PacerFactory of a run that shares its limits with nobody."""

    def pacer(
        self, lane: LaneName, rate: float, *, guard: Guard | None, demand: Callable[[], Demand], joins: bool  # noqa: ARG002
    ) -> Pacer:
        """See `PacerFactory.pacer`; there is nobody to join, and a slot needs no reservation."""
        return Pacer(rate, guard=guard)
