"""The Reserve: the slots that the server gave one replica of a lane, and the task that sees to more of them.

It asks when something is wanted and little is left, for as much as is wanted, and not before the server's answer can
be another than the last. Every answer also tells of pauses and of the rate, and makes the clock known better.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import OutputError, StateLost
from sender.pacing.pacer import window_of
from sender.runtime.tasks import end
from sender.shared_state.redis_connection import Away
from sender.shared_state.server_clock import ServerClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.pacing.guard import Guard
    from sender.shared_state.redis_connection import RedisConnection

GUARD: Final = 0.005
"""Seconds by which a window's worth of slots is wider than the window: 0.5 % of a rate per second."""
SPARE: Final = 0.0005
LEAST_LATE: Final = 0.0015
ASK_AHEAD: Final = 0.1
"""Seconds before the end of what is reserved at which more is asked for."""
LOOK_AGAIN: Final = 0.9
"""Seconds after which a lane that must wait asks again, so that it hears of a resume or a rate in time."""
AWAY_AGAIN: Final = 0.2
LOOKS: Final = (("look",),) * 5
"""What a new replica asks, to know the server's clock well from its first slot on."""
LONGEST_TRIP: Final = 0.05

Demand = tuple[int, int, int]
"""Jobs that could start now: high, normal, low."""

log = structlog.get_logger()


class SlotReservation:
    """Reserved slots, as loop times; `wants` says how many jobs of each priority to reserve for."""

    def __init__(
        self,
        connection: RedisConnection,
        run: Callable[[], int],
        lane: str,
        rate: float,
        guard: Guard | None,
        wants: Callable[[], Demand],
        on_change: Callable[[], None],
        *,
        joins: bool = False,
    ) -> None:
        self.limit, self.window = window_of(rate)
        self.held = False
        """Whether an operator paused the lane."""
        self.lost = False
        """Whether the server wants another epoch, which only a rejoin accepts."""
        self.not_before = -math.inf
        self.ask_at = -math.inf
        """Loop time before which asking makes no sense."""
        self.given_up = 0
        """Slots that were reached too late."""
        self._connection = connection
        self._run = run
        self._joins = joins
        self._lane = lane
        self._configured = rate
        self._guard = guard
        self._wanted = wants
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._clock = ServerClock()
        self._slots: deque[float] = deque()
        self._step = 0.0
        self._owed = 0.0
        self._trip = 0.002
        self._token = ""
        self._high_refused = False
        self._nudged = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()
        self._asking = asyncio.create_task(self._keep_reserved(), name=f"state: slots of {lane}")

    @property
    def away(self) -> bool:
        """Whether no slots can come for now."""
        return self.lost or self._connection.away_since is not None

    @property
    def late(self) -> float:
        """Seconds after its instant up to which a write is in its slot."""
        return max(LEAST_LATE, GUARD - SPARE - 2 * self._clock.error)

    def nudge(self) -> None:
        """Something may be wanted."""
        self._nudged.set()

    def first(self, now: float) -> float | None:
        """The next slot that can be used; those that cannot are given up."""
        if self.held:
            self._slots.clear()
        good = self.late + min(self._step, 0.3 * self.window)  # up to a slot too late it is cheaper to pay
        while self._slots and (self._slots[0] + good < now or self._slots[0] < self.not_before):
            self._slots.popleft()
            self.given_up += 1
        return self._slots[0] if self._slots else None

    def take(self) -> float:
        """Use the first slot."""
        slot = self._slots.popleft()
        if self._wants() is not None:
            self._nudged.set()
        return slot

    def pay(self, seconds: float) -> None:
        """Have the line moved on for a write that came so much later than its slot, by no more than a slot."""
        self._owed += min(max(0.0, seconds - self.late), self._step)
        self._nudged.set()

    def drop(self) -> None:
        """Forget what is reserved."""
        self._slots.clear()

    def tell(self, *what: object) -> None:
        """Have all replicas know, as soon as the server answers."""
        task = self._loop.create_task(self._say(*what))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def aclose(self) -> None:
        """Reserve nothing more."""
        await end((self._asking, *self._telling))

    @property
    def _widened(self) -> float:
        """Seconds by which the window has to be widened for this replica."""
        spread = self._guard.spread if self._guard else 0.0
        error = min(self._clock.error, 1.0)
        return max(GUARD, self.late + 2 * error + SPARE) + spread

    def _wants(self) -> Demand | None:
        """For how many jobs to reserve now; None when enough is reserved or nothing wanted."""
        if self._slots and self._slots[-1] > self._loop.time() + ASK_AHEAD + self._trip and not self._owed:
            return None
        wanted, covered = list(self._wanted()), len(self._slots)
        for rank, number in enumerate(wanted):
            wanted[rank] = max(0, number - covered)
            covered = max(0, covered - number)
        return (wanted[0], wanted[1], wanted[2]) if any(wanted) or self._owed else None

    async def _keep_reserved(self) -> None:
        with suppress(OutputError):  # what is wrong is told by the first that wants a slot
            await self._declare()  # early: a new lane has to wait for a window, and the lanes wait together
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            try:
                while (wants := self._wants()) is not None:
                    if await self._may_ask(wants):
                        await self._ask(self._wants() or wants)
            except OutputError as error:
                log.warning("a lane cannot be paced", lane=self._lane, error=str(error))
                self.ask_at = self._loop.time() + LOOK_AGAIN

    async def _may_ask(self, wants: Demand) -> bool:
        """Wait until asking makes sense; True at once for a debt, or a high job that was not refused yet."""
        wait = self.ask_at - self._loop.time()
        if wait <= 0 or self._owed or (wants[0] and not self._high_refused):
            return True
        self._nudged.clear()
        try:
            async with asyncio.timeout(wait):
                await self._nudged.wait()
        except TimeoutError:
            return True
        return False

    async def _ask(self, wants: Demand) -> None:
        if self._token != self._connection.token and not await self._declare():
            return
        owed, self._owed = self._owed, 0.0
        share = self._guard.share if self._guard else 1.0
        sent = self._loop.time()
        try:
            answer = await self._connection.call(
                "reserve", self._run(), self._lane, *wants, int(self._widened * 1e6), share,
                int((self._trip + 0.001) * 1e6), int(owed * 1e6), patient=False,
            )
        except (Away, StateLost) as trouble:
            self._pay_here(owed)
            await self._trouble(trouble)
            return
        if len(answer) == 2:
            self._token = ""
        elif not self._learn(sent, wants, answer):
            log.warning("a clock has jumped: the lane waits a window", lane=self._lane)
            await self._say("distrust")

    def _learn(self, sent: float, wants: Demand, answer: list[bytes]) -> bool:
        """Take what was granted; False when it cannot be placed on the loop's clock."""
        received = self._loop.time()
        now, count, first, step, again, paused, held, limit, window = map(float, answer)
        self._trip = min(LONGEST_TRIP, 0.8 * self._trip + 0.2 * (received - sent))
        self.lost, self.held = False, bool(held)
        self.limit, self.window, self._step = int(limit), window / 1e6, step / 1e6
        if not self._clock.learn(sent, received, now / 1e6):
            self._slots.clear()
            return False
        if paused > now:
            self.not_before = max(self.not_before, self._clock.to_loop(paused / 1e6))
        self._slots.extend(self._clock.to_loop((first + n * step) / 1e6) for n in range(int(count)))
        self._high_refused = wants[0] > count
        self.ask_at = -math.inf
        if count < sum(wants):
            wait = min(LOOK_AGAIN, (again - now) / 1e6)
            self.ask_at = received + max(0.005, min(wait, self._lasting()) if count else wait)
        self._on_change()
        return True

    def _lasting(self) -> float:
        """Seconds until what is reserved runs low."""
        return max(0.0, self._slots[-1] - ASK_AHEAD - self._trip - self._loop.time()) if self._slots else 0.0

    def _pay_here(self, owed: float) -> None:
        """What cannot be said to the server is paid from what is reserved already."""
        owed += self._owed
        while owed > 0 and self._slots:
            self._slots.pop()
            owed -= self._step
        self._owed = max(0.0, owed)

    async def _declare(self) -> bool:
        """Join the lane in this epoch; whether that went well."""
        token = self._connection.token
        limit, window = window_of(self._configured)
        try:
            for what in (("declare", "" if self._joins else self._configured, limit, int(window * 1e6)), *LOOKS):
                sent = self._loop.time()
                *_, now = await self._connection.call("lane", self._lane, *what, patient=False)
                self._clock.learn(sent, self._loop.time(), float(now) / 1e6)
        except (Away, StateLost) as trouble:
            await self._trouble(trouble)
            return False
        self._token = token
        return True

    async def _trouble(self, trouble: Exception) -> None:
        """No slots for now: the server is away, or it wants another epoch."""
        self.ask_at = self._loop.time() + AWAY_AGAIN
        if isinstance(trouble, StateLost):
            self.lost = True
            self._slots.clear()
        await asyncio.sleep(AWAY_AGAIN)

    async def _say(self, *what: object) -> None:
        try:
            while self._token != self._connection.token:
                await self._declare()
            await self._connection.call("lane", self._lane, *what)
        except OutputError as error:
            log.warning("a change of pace was not shared", lane=self._lane, what=what[0], error=str(error))
