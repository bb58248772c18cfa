"""The SharedPacer: one lane's pace for all replicas together, on the server's clock.

See docs/queues-and-state.md, "Shared state".

The server keeps one line of slots, a little wider than the window holds (`reserve.lua`). A replica reserves the next
few of them ahead, as many as it has jobs for and its turn allows, and starts its jobs in them by itself. So the
ceiling holds without asking, as long as each write falls into its slot:

* a slot that is reached too late is given up;
* a write that comes late, since the connection or the process was slow, is paid for: the line moves on by as much,
  at most by a slot, before anything is granted that could count in the same window as the late one; a turn that
  stays unwritten pays again and again.

While the server is away the reserved slots are used, and then `turn` waits. Slots are never made up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from sender.pacing.pacer import window_of
from sender.shared_state.slot_reservation import LOOK_AGAIN, Demand, SlotReservation

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.jobs.job import Priority
    from sender.pacing.guard import Guard
    from sender.shared_state.redis_connection import RedisConnection

UNSEEN: Final = 0.055
"""Seconds from now that `next_at` names while nothing is reserved yet: the lane looks again in 5 ms."""
OVERDUE: Final = 0.3
"""Part of the window after which a turn that is not written pays."""
MOST_EAGER: Final = 512


class SharedTurn:
    """See `sender.pacing.pacer.Turn`."""

    __slots__ = ("_pacer", "slot", "timer")

    def __init__(self, pacer: SharedPacer, slot: float) -> None:
        self._pacer: SharedPacer | None = pacer
        self.slot = slot
        """Loop time of its slot, or up to which its lateness is paid."""
        self.timer: asyncio.TimerHandle | None = None

    def written(self) -> None:
        """The request's write has returned just now."""
        self._close(written=True)

    def give_back(self) -> None:
        """Nothing was written; does nothing after `written`."""
        self._close(written=False)

    def _close(self, *, written: bool) -> None:
        if self._pacer is not None:
            pacer, self._pacer = self._pacer, None
            pacer.close_turn(self, written=written)


class SharedPacer:
    """The duck of `sender.pacing.pacer.Pacer` for replicas; made by `SharedState.pacer`.

    With `demand` it reserves for jobs that are there, by priority, before they are handed over; without, it reserves
    more the longer turns are asked for without a rest. What only waits for its turn counts as `priority`.
    """

    def __init__(
        self,
        connection: RedisConnection,
        run: Callable[[], int],
        lane: str,
        rate: float,
        *,
        guard: Guard | None = None,
        demand: Callable[[], Demand] | None = None,
        priority: Priority = "normal",
        joins: bool = False,
    ) -> None:
        self.demand = demand
        """Jobs that could start now; may be set later."""
        self._rank = ("high", "normal", "low").index(priority)
        self._loop = asyncio.get_running_loop()
        self._reserve = SlotReservation(connection, run, lane, rate, guard, self._wanted, self._changed, joins=joins)
        self._eager = 1
        self._turning = False
        self._gate = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None
        self._written: deque[float] = deque()
        self.requests = 0
        self.most_in_window = 0
        """Most of this replica's own requests in any window."""
        self.first_written: float | None = None
        self.last_written: float | None = None

    @property
    def rate(self) -> float:
        """Requests per second that the limit allows to all replicas together."""
        return self._reserve.limit / self._reserve.window

    @property
    def window(self) -> float:
        """The window's length in seconds."""
        return self._reserve.window

    @property
    def held(self) -> bool:
        """Whether an operator paused the lane, as far as is known."""
        return self._reserve.held

    @property
    def given_up(self) -> int:
        """Slots that were reached too late."""
        return self._reserve.given_up

    def set_rate(self, rate: float) -> None:
        """Change the limit for all replicas; what was granted under the old one still counts."""
        self._reserve.limit, self._reserve.window = window_of(rate)
        self._reserve.drop()
        self._reserve.tell("rate", self._reserve.limit, int(self._reserve.window * 1e6))

    def rest(self) -> None:
        """There is nothing to start for now."""
        self._eager = 1

    def pause_until(self, instant: float) -> None:
        """Let nothing start before this loop time, in any replica; a later pause wins."""
        self._reserve.not_before = max(self._reserve.not_before, instant)
        self._reserve.tell("pause", max(0, int((instant - self._loop.time()) * 1e6)))

    @property
    def paused_until(self) -> float:
        """Loop time until which the lane is paused; in the past when it is not."""
        return self._reserve.not_before

    def next_at(self, now: float) -> float:
        """Earliest loop time of the next turn; a little after now while nothing is reserved."""
        slot = self._reserve.first(now)
        if slot is not None:
            return slot
        self._reserve.nudge()
        if self.demand is not None and not any(self.demand()):
            return now  # nothing to hand over, nothing to look again for
        if self.demand is None and not (self._reserve.held or self._reserve.away):
            return max(now, self._reserve.not_before)
        ask_at = min(self._reserve.ask_at, now + LOOK_AGAIN)
        return max(now + UNSEEN, ask_at + UNSEEN, self._reserve.not_before)

    async def turn(self) -> SharedTurn:
        """Wait for the next request's instant and take it; a cancelled wait has taken nothing."""
        async with self._gate:
            self._turning = True
            try:
                while True:
                    now = self._loop.time()
                    slot = self._reserve.first(now)
                    if slot is not None and slot <= now:
                        return self._open_turn()
                    self._reserve.nudge()
                    await self._sleep_until(slot)
            finally:
                self._turning = False

    async def aclose(self) -> None:
        """Reserve nothing more."""
        await self._reserve.aclose()

    def close_turn(self, turn: SharedTurn, *, written: bool) -> None:
        """What a turn's end means; for `SharedTurn`."""
        if turn.timer is not None:
            turn.timer.cancel()
        if not written:
            return
        now = self._loop.time()
        if now - turn.slot > self._reserve.late:
            self._reserve.pay(now - turn.slot)
        self.requests += 1
        self.first_written = now if self.first_written is None else self.first_written
        self.last_written = now
        self._written.append(now)
        while self._written[0] <= now - self._reserve.window:
            self._written.popleft()
        self.most_in_window = max(self.most_in_window, len(self._written))

    def _open_turn(self) -> SharedTurn:
        turn = SharedTurn(self, self._reserve.take())
        turn.timer = self._loop.call_at(turn.slot + OVERDUE * self._reserve.window, self._overdue, turn)
        return turn

    def _overdue(self, turn: SharedTurn) -> None:
        now = self._loop.time()
        self._reserve.pay(now - turn.slot)
        turn.slot = now
        turn.timer = self._loop.call_at(now + OVERDUE * self._reserve.window, self._overdue, turn)

    def _wanted(self) -> Demand:
        jobs = [0, 0, 0]
        if self.demand is not None:
            jobs = list(self.demand())
        elif self._eager > 1:
            jobs[self._rank] = self._eager
        if self._turning and not any(jobs):
            jobs[self._rank] = 1
        return jobs[0], jobs[1], jobs[2]

    def _changed(self) -> None:
        """The server has answered."""
        if self.demand is None and self._turning:
            self._eager = min(MOST_EAGER, self._eager * 2)
        self._wake()

    async def _sleep_until(self, instant: float | None) -> None:
        """Sleep until then, or until something changes."""
        self._waiter = self._loop.create_future()
        timer = None if instant is None else self._loop.call_at(instant, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
