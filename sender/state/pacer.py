"""The SharedPacer: one lane's pace for all replicas together, on the server's clock (CONTRACT sections 2 and 7).

The server keeps one line of slots, a little wider than the window holds (`reserve.lua`). A replica reserves the next
few of them ahead, as many as it has jobs for and its turn allows, and starts its jobs in them by itself. So the
ceiling holds without asking, as long as each write falls into its slot:

* a slot that is reached late is given up;
* a write that comes late, since the connection or the process was slow, is paid for with a later slot, before the
  late one could count in the same window as it; a turn that stays unwritten pays again and again.

While the server is away the reserved slots are used, and then `turn` waits. Slots are never made up.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from sender.engine.pacer import window_of
from sender.errors import OutputError, StateLost
from sender.state.clock import ServerClock
from sender.state.ending import end
from sender.state.link import Away

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.guard import Guard
    from sender.job import Priority
    from sender.state.link import Link

GUARD: Final = 0.005
"""Seconds by which a window's worth of slots is wider than the window: 0.5 % of a rate per second."""
SPARE: Final = 0.0005
LEAST_LATE: Final = 0.0015
ASK_AHEAD: Final = 0.1
"""Seconds before the end of what is reserved at which more is asked for."""
LOOK_AGAIN: Final = 0.9
"""Seconds after which a lane that must wait asks again, so that it hears of a resume or a rate in time."""
AWAY_AGAIN: Final = 0.2
UNSEEN: Final = 0.055
"""Seconds from now that `next_at` names while nothing is reserved yet: the lane looks again in 5 ms."""
OVERDUE: Final = 0.3
"""Part of the window after which a turn that is not written pays with another slot."""
BURNABLE: Final = 0.1
"""Seconds: slots no longer than this are cheap enough to burn one that is reserved already."""

LOOKS: Final = (("look",),) * 5
"""What a new replica asks, to know the server's clock well from its first slot on."""

Demand = tuple[int, int, int]
"""Jobs that could start now: high, normal, low."""

log = structlog.get_logger()


class SharedTurn:
    """See `sender.engine.pacer.Turn`."""

    __slots__ = ("_pacer", "slot", "timer")

    def __init__(self, pacer: SharedPacer, slot: float) -> None:
        self._pacer: SharedPacer | None = pacer
        self.slot = slot
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
    """The duck of `sender.engine.pacer.Pacer` for replicas; made by `SharedState.pacer`.

    With `demand` it reserves for jobs that are there, by priority, before they are handed over; without, it reserves
    more the longer turns are asked for without a rest, all as `priority`.
    """

    def __init__(
        self,
        link: Link,
        run: Callable[[], int],
        lane: str,
        rate: float,
        *,
        guard: Guard | None = None,
        demand: Callable[[], Demand] | None = None,
        priority: Priority = "normal",
    ) -> None:
        self._link = link
        self._run = run
        self._lane = lane
        self._configured = rate
        self._guard = guard
        self.demand = demand
        """Jobs that could start now; may be set later."""
        self._rank = ("high", "normal", "low").index(priority)
        self._loop = asyncio.get_running_loop()
        self._clock = ServerClock()
        self._slots: deque[float] = deque()
        self._step = 0.0
        self._owed = 0.0
        self._trip = 0.002
        self._ask_at = -math.inf
        self._not_before = -math.inf
        self._held = False
        self._lost = False
        self._token = ""
        self._eager = 1
        self._turning = False
        self._high_refused = False
        self._gate = asyncio.Lock()
        self._waiter: asyncio.Future[None] | None = None
        self._nudged = asyncio.Event()
        self._written: deque[float] = deque()
        self._telling: set[asyncio.Task[None]] = set()
        self.requests = 0
        self.most_in_window = 0
        """Most of this replica's own requests in any window."""
        self.first_written: float | None = None
        self.last_written: float | None = None
        self.given_up = 0
        """Slots that were reached late, or paid for a late write."""
        self._limit, self._window = window_of(rate)
        self._asking = asyncio.create_task(self._keep_reserved(), name=f"state: pacer {lane}")

    @property
    def rate(self) -> float:
        """Requests per second that the limit allows to all replicas together."""
        return self._limit / self._window

    @property
    def window(self) -> float:
        """The window's length in seconds."""
        return self._window

    @property
    def held(self) -> bool:
        """Whether an operator paused the lane, as far as is known."""
        return self._held

    def set_rate(self, rate: float) -> None:
        """Change the limit for all replicas; what was granted under the old one still counts."""
        self._limit, self._window = window_of(rate)
        self._slots.clear()
        self._tell("rate", self._limit, int(self._window * 1e6))

    def rest(self) -> None:
        """There is nothing to start for now."""
        self._eager = 1

    def pause_until(self, instant: float) -> None:
        """Let nothing start before this loop time, in any replica; a later pause wins."""
        self._not_before = max(self._not_before, instant)
        self._tell("pause", max(0, int((instant - self._loop.time()) * 1e6)))

    @property
    def paused_until(self) -> float:
        """Loop time until which the lane is paused; in the past when it is not."""
        return self._not_before

    def next_at(self, now: float) -> float:
        """Earliest loop time of the next turn; a little after now while nothing is reserved."""
        slot = self._first(now)
        if slot is not None:
            return slot
        self._nudged.set()
        if self.demand is None and not (self._held or self._lost or self._link.away_since is not None):
            return max(now, self._not_before)
        return max(now + UNSEEN, min(self._ask_at, now + LOOK_AGAIN) + UNSEEN, self._not_before)

    async def turn(self) -> SharedTurn:
        """Wait for the next request's instant and take it; a cancelled wait has taken nothing."""
        async with self._gate:
            self._turning = True
            try:
                while True:
                    now = self._loop.time()
                    slot = self._first(now)
                    if slot is not None and slot <= now:
                        return self._take()
                    self._nudged.set()
                    await self._sleep_until(slot)
            finally:
                self._turning = False

    async def aclose(self) -> None:
        """Reserve nothing more."""
        await end((self._asking, *self._telling))

    def close_turn(self, turn: SharedTurn, *, written: bool) -> None:
        """What a turn's end means; for `SharedTurn`."""
        if turn.timer is not None:
            turn.timer.cancel()
        if not written:
            return
        now = self._loop.time()
        if now - turn.slot > self._late:
            self._pay(turn, now)
        self.requests += 1
        self.first_written = now if self.first_written is None else self.first_written
        self.last_written = now
        self._written.append(now)
        while self._written[0] <= now - self._window:
            self._written.popleft()
        self.most_in_window = max(self.most_in_window, len(self._written))

    @property
    def _late(self) -> float:
        """Seconds after its instant up to which a slot is good."""
        return max(LEAST_LATE, GUARD - SPARE - 2 * self._clock.error)

    @property
    def _widened(self) -> float:
        """Seconds by which the window has to be widened for this replica."""
        spread = self._guard.spread if self._guard else 0.0
        error = min(self._clock.error, 1.0)
        return max(GUARD, self._late + 2 * error + SPARE) + spread

    def _first(self, now: float) -> float | None:
        """The next slot that can be used; those that cannot are given up."""
        if self._held:
            self._slots.clear()
        while self._slots and (self._slots[0] + self._late < now or self._slots[0] < self._not_before):
            self._slots.popleft()
            self.given_up += 1
        return self._slots[0] if self._slots else None

    def _take(self) -> SharedTurn:
        turn = SharedTurn(self, self._slots.popleft())
        turn.timer = self._loop.call_at(turn.slot + OVERDUE * self._window, self._overdue, turn)
        if self._wants() is not None:
            self._nudged.set()
        return turn

    def _overdue(self, turn: SharedTurn) -> None:
        now = self._loop.time()
        self._pay(turn, now)
        turn.timer = self._loop.call_at(now + OVERDUE * self._window, self._overdue, turn)

    def _pay(self, turn: SharedTurn, now: float) -> None:
        """Give up a slot for a write that comes later than its own, or have the line moved on."""
        if self._step <= BURNABLE and self._slots and now < self._slots[0] < turn.slot + self._window:
            self._slots.popleft()
            self.given_up += 1
        else:
            self._owed += min(now - turn.slot, self._step)
            self._nudged.set()
        turn.slot = now

    def _wants(self) -> Demand | None:
        """For how many jobs to reserve now; None when enough is reserved or nothing wanted."""
        now = self._loop.time()
        if self._slots and self._slots[-1] > now + ASK_AHEAD + self._trip:
            return None
        if self.demand is None:
            jobs = [0, 0, 0]
            jobs[self._rank] = self._eager if self._turning or self._eager > 1 else 0
        else:
            jobs = list(self.demand())
        covered = len(self._slots)
        for rank, number in enumerate(jobs):
            jobs[rank] = max(0, number - covered)
            covered = max(0, covered - number)
        return (jobs[0], jobs[1], jobs[2]) if any(jobs) or self._owed else None

    async def _keep_reserved(self) -> None:
        """Reserve whenever something is wanted, and not before the server's answer would be another."""
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            try:
                while (wants := self._wants()) is not None:
                    if await self._may_ask(wants):
                        await self._ask(self._wants() or wants)
            except OutputError as error:
                log.exception("a lane cannot be paced", lane=self._lane, error=str(error))
                self._ask_at = self._loop.time() + 1

    async def _may_ask(self, wants: Demand) -> bool:
        """Wait until asking makes sense; True at once for a high job that was not refused yet."""
        wait = self._ask_at - self._loop.time()
        if wait <= 0 or (wants[0] and not self._high_refused):
            return True
        self._nudged.clear()
        try:
            async with asyncio.timeout(wait):
                await self._nudged.wait()
        except TimeoutError:
            return True
        return False

    async def _ask(self, wants: Demand) -> None:
        if self._token != self._link.token and not await self._declare():
            return
        owed, self._owed = self._owed, 0.0
        share = self._guard.share if self._guard else 1.0
        sent = self._loop.time()
        try:
            answer = await self._link.call(
                "reserve", self._run(), self._lane, *wants, int(self._widened * 1e6), share,
                int((self._trip + 0.001) * 1e6), int(owed * 1e6), patient=False,
            )  # fmt: skip
        except (Away, StateLost) as trouble:
            self._owed += owed
            await self._trouble(trouble)
            return
        if len(answer) == 2:
            self._token = ""
            return
        self._learn(sent, wants, answer)

    def _learn(self, sent: float, wants: Demand, answer: list[bytes]) -> None:
        received = self._loop.time()
        now, count, first, step, again, paused, held, limit, window = map(float, answer)
        self._trip = min(0.05, 0.8 * self._trip + 0.2 * (received - sent))
        self._lost = False
        self._held = bool(held)
        self._limit, self._window, self._step = int(limit), window / 1e6, step / 1e6
        if not self._clock.learn(sent, received, now / 1e6):
            self._slots.clear()
            self._tell("distrust")
            log.warning("a clock has jumped: the lane waits a window", lane=self._lane)
            return
        if paused > now:
            self._not_before = max(self._not_before, self._clock.to_loop(paused / 1e6))
        self._slots.extend(self._clock.to_loop((first + n * step) / 1e6) for n in range(int(count)))
        self._high_refused = wants[0] > count
        self._ask_at = -math.inf
        if not count or count < sum(wants):
            wait = min(LOOK_AGAIN, (again - now) / 1e6)
            self._ask_at = received + max(0.005, wait if not count else min(wait, self._room()))
        if count and self.demand is None:
            self._eager = min(512, self._eager * 2)
        self._wake()

    def _room(self) -> float:
        """Seconds until what is reserved runs low."""
        return max(0.0, self._slots[-1] - ASK_AHEAD - self._trip - self._loop.time()) if self._slots else 0.0

    async def _declare(self) -> bool:
        """Join the lane in this epoch; whether that went well."""
        token = self._link.token
        limit, window = window_of(self._configured)
        try:
            for what in (("declare", self._configured, limit, int(window * 1e6)), *LOOKS):
                sent = self._loop.time()
                *_, now = await self._link.call("lane", self._lane, *what, patient=False)
                self._clock.learn(sent, self._loop.time(), float(now) / 1e6)
        except (Away, StateLost) as trouble:
            await self._trouble(trouble)
            return False
        self._token = token
        return True

    async def _trouble(self, trouble: Exception) -> None:
        """No slots for now: the server is away, or it wants another epoch, which only `rejoin` accepts."""
        self._ask_at = self._loop.time() + AWAY_AGAIN
        if isinstance(trouble, StateLost):
            self._lost = True
            self._slots.clear()
        await asyncio.sleep(AWAY_AGAIN)

    def _tell(self, *what: object) -> None:
        """Have all replicas know, as soon as the server answers."""
        task = self._loop.create_task(self._say(*what))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _say(self, *what: object) -> None:
        try:
            while self._token != self._link.token:
                if not await self._declare():
                    continue
            await self._link.call("lane", self._lane, *what)
        except OutputError as error:
            log.warning("a change of pace was not shared", lane=self._lane, what=what[0], error=str(error))

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
