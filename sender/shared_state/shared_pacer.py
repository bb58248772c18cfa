"""The SharedPacer: one lane's pace for all replicas together, on the server's clock.

See docs/queues-and-state.md, "Shared state".

The server keeps one line of slots, a little wider than the window holds (`reserve.lua`). A replica reserves the next
few of them ahead, as many as it has jobs for and its share allows, and starts its jobs in them by itself. So the
ceiling holds without asking, as long as each write falls into its slot:

* a slot that is reached too late is given up;
* a write that comes late, since the connection or the process was slow, is compensated: the line moves on by as much,
  at most by a slot, before anything is granted that could count in the same window as the late one; a permit that
  stays unwritten is compensated again and again.

While the server is away the reserved slots are used, and then `acquire` waits. Slots are never made up.

While replicas have more jobs than the lane takes they divide it: each holds a part for seconds, and no slots are given
(`part_lease.py`).
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from sender.engine.pacing.pace import WriteCounter, window_of
from sender.engine.pacing.permit import Permit
from sender.engine.pacing.waiter import Waiter
from sender.errors import StateLost
from sender.shared_state.part_lease import PartLease
from sender.shared_state.reserved_slots import LOOK_AGAIN, ReservedSlots
from sender.shared_state.slot_reservation import SlotReservation
from sender.shared_state.state_connection import Away

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Demand
    from sender.jobs.job import Priority
    from sender.shared_state.shared_lane import SharedLane

UNSEEN: Final = 0.055
"""Seconds from now that `next_at` names while nothing is reserved yet: the lane looks again in 5 ms."""
OVERDUE: Final = 0.3
"""Part of the window after which a permit that is not written is compensated."""
MOST_EAGER: Final = 512


class UsedSlot:
    """A slot whose write is under way."""

    __slots__ = ("instant", "timer")

    def __init__(self, instant: float) -> None:
        self.instant = instant
        """Loop time of the slot, or up to which its lateness is compensated."""
        self.timer: asyncio.TimerHandle


class SharedPacer(WriteCounter):
    """A Pace for replicas; made by `SharedState.pacer`.

    With `demand` it reserves for jobs that are there, by priority, before they are handed over; without, it reserves
    more the longer permits are asked for without a rest. What only waits for its permit counts as `priority`.
    """

    def __init__(
        self, lane: SharedLane, *, guard: Guard | None = None, demand: Callable[[], Demand] | None = None,
        priority: Priority = "normal",
    ) -> None:
        super().__init__()
        self.demand = demand
        """Jobs that could start now; may be set later."""
        self._rank = ("high", "normal", "low").index(priority)
        self._loop = asyncio.get_running_loop()
        self._lane = lane
        self._slots = ReservedSlots(lane.rate, guard)
        self._part = PartLease(lane, self._slots, self._demanded, guard, self._part_changed)
        self._reservation = SlotReservation(lane, self._slots, self._wanted, self._changed, self._part.join)
        self._eager = 1
        self._acquiring = False
        self._gate = asyncio.Lock()
        self._waiter = Waiter()

    @property
    def rate(self) -> float:
        return self._slots.limit / self._slots.window

    @property
    def window(self) -> float:
        return self._slots.window

    @property
    def paused(self) -> bool:
        return self._slots.paused

    @property
    def paused_until(self) -> float:
        return self._slots.not_before

    @property
    def given_up(self) -> int:
        """Slots that were reached too late."""
        return self._slots.given_up

    def set_rate(self, rate: float) -> None:
        """See `Pace.set_rate`; the limit of all replicas."""
        limit, window = window_of(rate)
        self._slots.limit, self._slots.window = limit, window
        self._slots.drop()
        self._part.renew()
        self._reservation.tell("rate", limit, int(window * 1e6))

    async def pause(self) -> None:
        """See `Pace.pause`; in all replicas, within a second, or 2.2 in a divided lane."""
        await self._lane.tell("hold")

    async def resume(self) -> None:
        """See `Pace.resume`; the replicas follow as they do for `pause`."""
        await self._lane.tell("go")

    async def look(self) -> None:
        """See `Pace.look`; a server that is away, or has lost its state, tells nothing."""
        with suppress(Away, StateLost):
            self._slots.paused = await self._lane.held()

    def pause_until(self, instant: float) -> None:
        """See `Pace.pause_until`; in all replicas."""
        self._slots.not_before = max(self._slots.not_before, instant)
        self._reservation.tell("pause", max(0, int((instant - self._loop.time()) * 1e6)))

    def rest(self) -> None:
        self._eager = 1
        self._part.rest()

    def next_at(self, now: float) -> float:
        """See `Pace.next_at`; a little after now while nothing is reserved."""
        at = self._due(now)
        if at is not None:
            return at
        if self.demand is not None and not any(self.demand()):
            return now  # nothing to hand over, nothing to look again for
        if self.demand is None and not (self.paused or self._reservation.away):
            return max(now, self._slots.not_before)
        ask_at = min(self._slots.ask_at, now + LOOK_AGAIN)
        return max(now + UNSEEN, ask_at + UNSEEN, self._slots.not_before)

    async def acquire(self) -> Permit:
        async with self._gate:
            self._acquiring = True
            self._part.want()
            try:
                while (at := self._due(now := self._loop.time())) is None or at > now:
                    await self._waiter.sleep_until(math.inf if at is None else at)
                return self._take(now)
            finally:
                self._acquiring = False

    async def acquire_urgent(self, *, though_paused: bool = False) -> Permit:
        """See `Pace.acquire_urgent`: of the part, or a slot of its own, which the server gives in spite of a pause."""
        while True:
            if though_paused or not self.paused:
                permit = await self._part.acquire_urgent()
                if permit is not None:
                    return self._counted(permit)
            self._part.want()
            slot = await self._reservation.reserve_urgent(though_paused=though_paused)
            if slot is not None:
                await asyncio.sleep(max(0.0, slot - self._loop.time()))
                return self._use(slot)

    async def aclose(self) -> None:
        """Reserve nothing more, and give the part back."""
        await self._part.aclose()
        await self._reservation.aclose()

    def _due(self, now: float) -> float | None:
        """When the next permit is due: in a slot that is left, or in the part; None when neither is there."""
        slot = self._slots.first(now)
        if slot is not None:
            return slot
        at = None if self.paused else self._part.next_at(now)
        if at is None:
            self._part.nudge()
            self._reservation.nudge()
        return at

    def _take(self, now: float) -> Permit:
        if self._slots.first(now) is not None:
            return self._use(self._reservation.take())
        return self._counted(self._part.take(now))

    def _counted(self, permit: Permit) -> Permit:
        return Permit(partial(self._end_part, permit))

    def _end_part(self, permit: Permit, written: bool) -> None:
        if written:
            permit.written()
            self.count_written(self._loop.time(), self.window)
        else:
            permit.cancel()
        if not written or self._waiter.until == math.inf:
            self._waiter.wake()

    def _use(self, slot: float) -> Permit:
        used = UsedSlot(slot)
        self._compensate_later(used)
        return Permit(partial(self._end_permit, used))

    def _compensate_later(self, used: UsedSlot) -> None:
        used.timer = self._loop.call_at(used.instant + OVERDUE * self.window, self._overdue, used)

    def _overdue(self, used: UsedSlot) -> None:
        now = self._loop.time()
        self._reservation.compensate(now - used.instant)
        used.instant = now
        self._compensate_later(used)

    def _end_permit(self, used: UsedSlot, written: bool) -> None:
        used.timer.cancel()
        if not written:
            return
        now = self._loop.time()
        self._part.occupy()
        if now - used.instant > self._slots.late:
            self._reservation.compensate(now - used.instant)
        self.count_written(now, self.window)

    def _wanted(self) -> Demand:
        """For how many jobs to reserve slots."""
        return (0, 0, 0) if self._part.joined else self._demanded()

    def _demanded(self) -> Demand:
        jobs = [0, 0, 0]
        if self.demand is not None:
            jobs = list(self.demand())
        elif self._eager > 1:
            jobs[self._rank] = self._eager
        if self._acquiring and not any(jobs):
            jobs[self._rank] = 1
        return jobs[0], jobs[1], jobs[2]

    def _part_changed(self) -> None:
        self._waiter.wake()

    def _changed(self) -> None:
        """The server has answered."""
        if self.demand is None and self._acquiring:
            self._eager = min(MOST_EAGER, self._eager * 2)
        self._waiter.wake()
