"""A Pacer says when the next request of a lane may be written (docs/delivery-semantics.md, "Lanes and limits").

Two rules, of which the later instant wins:

* slots: request k is due at `t0 + k * step`, absolute, so lateness never adds up; after a stall of the process at most
  `catch_up` slots are made up at once, after a `rest` none: the schedule is anchored anew;
* window: at any instant the requests written in the last window, plus those started and not yet written, are fewer
  than the limit. A request is stamped when its write has returned, so a process that stalls between its turn and its
  write cannot break the ceiling: what is unwritten counts as if it were written now.

The window alone is the ceiling; the slots are what makes the flow even. The slots are a little wider than the window
(`SLACK`), so that the lateness of one second is not inherited by all later ones.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from sender.pacing.guard import Guard

SLACK: Final = 0.0015
"""Seconds by which a window's worth of slots is wider than the window: costs 0.15 % of a per-second rate."""
MARGIN: Final = 0.001
"""Seconds added to the window for the difference between our stamp and the receiving kernel's."""
CATCH_UP: Final = 25
"""Slots: a quarter of a second of stall is made up at 100 a second; the window holds the ceiling all the same."""
LOOK_AGAIN: Final = 0.5
"""Seconds after which a lane on hold looks again: whoever asked for the next instant is not told of its end."""
UNLIMITED: Final = 1 << 40


def window_of(rate: float) -> tuple[int, float]:
    """(requests, seconds) for a rate per second: below 1 it means one request in any 1/rate seconds."""
    if rate == math.inf:
        return UNLIMITED, 1.0
    if rate >= 1:
        return math.floor(rate), 1.0
    return 1, 1.0 / rate


class Permit(Protocol):
    """The right to write one request, as `Turn` gives it."""

    def written(self) -> None:
        """See `Turn.written`."""

    def give_back(self) -> None:
        """See `Turn.give_back`."""


class Pace(Protocol):
    """What a lane needs of its pacer: `Pacer` for a run alone, `SharedPacer` in `shared_state` for replicas."""

    requests: int
    most_in_window: int
    first_written: float | None
    last_written: float | None

    @property
    def rate(self) -> float:
        """See `Pacer.rate`."""

    @property
    def window(self) -> float:
        """See `Pacer.window`."""

    @property
    def paused_until(self) -> float:
        """See `Pacer.paused_until`."""

    def set_rate(self, rate: float) -> None:
        """See `Pacer.set_rate`."""

    def rest(self) -> None:
        """See `Pacer.rest`."""

    def pause_until(self, instant: float) -> None:
        """See `Pacer.pause_until`."""

    def next_at(self, now: float) -> float:
        """See `Pacer.next_at`."""

    async def turn(self) -> Permit:
        """See `Pacer.turn`."""


class Turn:
    """The right to write one request, to be used at once: tell it when the write returned, or that there was none."""

    __slots__ = ("_open", "_pacer")

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._open = True

    def written(self) -> None:
        """The request's write has returned just now."""
        if self._open:
            self._open = False
            self._pacer._close_turn(written=True)  # noqa: SLF001 - a Turn is the pacer's own handle

    def give_back(self) -> None:
        """Nothing was written; does nothing after `written`."""
        if self._open:
            self._open = False
            self._pacer._close_turn(written=False)  # noqa: SLF001


class Pacer:
    """Keeps one lane under `rate` requests per second in any sliding window; turns are taken in the order of asking."""

    def __init__(self, rate: float, *, guard: Guard | None = None, catch_up: int = CATCH_UP) -> None:
        self._guard = guard
        self._catch_up = catch_up
        self._loop = asyncio.get_running_loop()
        self._written: deque[float] = deque()
        self._unwritten = 0
        self._next_slot = -math.inf
        self._not_before = -math.inf
        self._rested = True
        self._held = False
        self._gate = asyncio.Lock()
        self._asking = 0
        """How many wait at the gate; with none there, a turn that is due is taken past it."""
        self._waiter: asyncio.Future[None] | None = None
        self._sleeps_until = math.inf
        self.requests = 0
        self.most_in_window = 0
        self.first_written: float | None = None
        self.last_written: float | None = None
        self._limit, self._window = window_of(rate)

    @property
    def rate(self) -> float:
        """Requests per second that the limit allows."""
        return self._limit / self._window

    @property
    def window(self) -> float:
        """The window's length in seconds."""
        return self._window

    def set_rate(self, rate: float) -> None:
        """Change the limit from now on; what was written under the old one still counts."""
        limit, window = window_of(rate)
        if window > self._window and self.last_written is not None:
            # Writes of a longer window are no longer known one by one: the last one stands for them.
            self.pause_until(self.last_written + window + MARGIN)
        self._limit, self._window = limit, window
        self._next_slot = min(self._next_slot, self._loop.time() + self._step)
        self._wake()

    def hold(self, held: bool) -> None:
        """Let nothing start until told otherwise."""
        self._held = held
        self._rested = True
        self._wake()

    @property
    def held(self) -> bool:
        """Whether an operator paused the lane."""
        return self._held

    def rest(self) -> None:
        """There is nothing to start: the time until the next turn is idle, and is not made up."""
        self._rested = True

    def pause_until(self, instant: float) -> None:
        """Let nothing start before this loop time; a later pause wins."""
        self._not_before = max(self._not_before, instant)

    @property
    def paused_until(self) -> float:
        """Loop time until which the lane is paused; in the past when it is not."""
        return self._not_before

    def next_at(self, now: float) -> float:
        """Earliest loop time of the next turn as far as is known now; infinite while it hangs on an unwritten one."""
        span = self._window + MARGIN + self._spread
        while self._written and self._written[0] + span <= now:
            self._written.popleft()
        if self._held:
            return now + LOOK_AGAIN
        earliest = max(self._next_slot, self._not_before)
        over = self._unwritten + len(self._written) - self._limit
        if over < 0:
            return earliest
        if over >= len(self._written):
            return math.inf
        return max(earliest, self._written[over] + span)

    async def turn(self) -> Turn:
        """Wait for the next request's instant and take it; a cancelled wait has taken nothing."""
        now = self._loop.time()
        if not self._asking and self.next_at(now) <= now:
            return self._take(now)
        self._asking += 1
        try:
            async with self._gate:
                while (at := self.next_at(now := self._loop.time())) > now:
                    await self._sleep_until(at)
                return self._take(now)
        finally:
            self._asking -= 1

    def _take(self, now: float) -> Turn:
        step = self._step
        oldest = now if self._rested else now - self._catch_up * step
        self._rested = False
        self._next_slot = max(self._next_slot, self._not_before, oldest) + step
        self._unwritten += 1
        return Turn(self)

    @property
    def _spread(self) -> float:
        return self._guard.spread if self._guard else 0.0

    @property
    def _step(self) -> float:
        share = self._guard.share if self._guard else 1.0
        return (self._window + SLACK + self._spread) / (self._limit * share)

    async def _sleep_until(self, instant: float) -> None:
        self._waiter = self._loop.create_future()
        self._sleeps_until = instant
        timer = self._loop.call_at(instant, self._wake) if instant < math.inf else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _close_turn(self, *, written: bool) -> None:
        self._unwritten -= 1
        if written:
            now = self._loop.time()
            self._written.append(now)
            self.requests += 1
            self.first_written = now if self.first_written is None else self.first_written
            self.last_written = now
            self.most_in_window = max(self.most_in_window, self._count_in_window(now))
        if not written or self._sleeps_until == math.inf:  # a write makes no instant that is known any earlier
            self._wake()

    def _count_in_window(self, now: float) -> int:
        # The log keeps a little more than the window; the oldest few are outside of it.
        outside = 0
        for stamp in self._written:
            if stamp > now - self._window:
                break
            outside += 1
        return len(self._written) - outside
