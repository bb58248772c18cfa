"""The SlotReservation is the task that sees to it that a replica's lane has slots when it wants them.

It asks when something is wanted and little is left, for as much as is wanted, and not before the server's answer can
be another than the last. Every answer also tells of pauses and of the rate, and makes the clock known better.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import OutputError, StateLost
from sender.runtime.tasks import end
from sender.shared_state.reserved_slots import FAR, LOOK_AGAIN
from sender.shared_state.state_connection import Away

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.pace import Demand
    from sender.shared_state.reserved_slots import ReservedSlots
    from sender.shared_state.shared_lane import SharedLane
    from sender.shared_state.state_server import Grant

AWAY_AGAIN: Final = 0.2

log = structlog.get_logger()


class SlotReservation:
    """Keeps `slots` filled for the jobs that `wanted()` counts; calls `on_change` after every grant.

    It calls `on_divided` when the server gives none since replicas hold parts of the lane.
    """

    def __init__(
        self, lane: SharedLane, slots: ReservedSlots, wanted: Callable[[], Demand], on_change: Callable[[], None],
        on_divided: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._slots = slots
        self._wanted = wanted
        self._on_change = on_change
        self._on_divided = on_divided
        self._loop = asyncio.get_running_loop()
        self._lost = False
        """Whether the server wants another epoch, which only a rejoin accepts."""
        self._nudged = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()
        self._asking = asyncio.create_task(self._keep_reserved(), name=f"state: slots of {lane.name}")
        self._asking.add_done_callback(lambda _: self._on_change())

    @property
    def away(self) -> bool:
        """Whether no slots can come for now."""
        return self._lost or self._lane.away

    def nudge(self) -> None:
        """Something may be wanted; raises what ended the asking, if anything did."""
        if self._asking.done() and not self._asking.cancelled():
            self._asking.result()
        self._nudged.set()

    def take(self) -> float:
        """Use the first slot."""
        slot = self._slots.take()
        if self._missing() is not None:
            self.nudge()
        return slot

    async def reserve_urgent(self, *, though_paused: bool = False) -> float | None:
        """A slot as loop time that the server gives past what the API asked to wait, or past any pause; None, after an
        instant, when there is none now."""
        slots, urgent = self._slots, 2 if though_paused else 1
        sent = self._loop.time()
        with suppress(Away, StateLost):
            grant = None
            if self._lane.declared or await self._declare():
                lead, widened = slots.trip + 0.001, slots.widen(sent)
                grant = await self._lane.reserve((0, 0, 0), widened, slots.share, lead, 0.0, urgent=urgent)
            if grant is not None and grant.divided:
                self._on_divided()
            elif grant is not None and (slot := await self._placed(sent, grant)) is not None:
                return slot
        await asyncio.sleep(AWAY_AGAIN)
        return None

    async def _placed(self, sent: float, grant: Grant) -> float | None:
        """The first slot as loop time, once it is so near that the clocks cannot part before it; None without a slot,
        or after a jump of one of the clocks."""
        clock, instant = self._slots.clock, grant.first / 1e6
        if not (grant.granted and clock.learn(sent, self._loop.time(), grant.now / 1e6)):
            return None
        while (ahead := clock.to_loop(instant) - self._loop.time()) > FAR:
            await asyncio.sleep(ahead - FAR / 2)
            with suppress(Away, StateLost):
                if not await self._lane.look(clock):
                    return None
        return clock.to_loop(instant)

    def compensate(self, seconds: float) -> None:
        """Have the line moved on for a write that came so much later than its slot."""
        self._slots.owe(seconds, self._loop.time())
        self.nudge()

    def tell(self, *what: object) -> None:
        """Have all replicas know, as soon as the server answers."""
        task = self._loop.create_task(self._tell(*what))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def aclose(self) -> None:
        """Reserve nothing more."""
        await end((self._asking, *self._telling))

    def _missing(self) -> Demand | None:
        """For how many jobs to reserve now; None when enough is reserved or nothing wanted, and nothing is owed."""
        if self._slots.enough(self._loop.time()):
            return (0, 0, 0) if self._slots.owed else None
        return self._slots.missing(self._wanted())

    async def _keep_reserved(self) -> None:
        with suppress(OutputError):  # what is wrong is told by the first that wants a slot
            await self._declare()  # early: a new lane has to wait for a window, and the lanes wait together
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            try:
                while (wants := self._missing()) is not None:
                    if await self._may_ask(wants):
                        await self._ask(self._slots.missing(self._wanted()) or wants)
            except OutputError as error:
                log.warning("a lane cannot be paced", lane=self._lane.name, error=str(error))
                self._slots.ask_at = self._loop.time() + LOOK_AGAIN

    async def _may_ask(self, wants: Demand) -> bool:
        """Wait until asking makes sense; False when something changed meanwhile."""
        wait = self._slots.ask_from(wants) - self._loop.time()
        if wait <= 0:
            return True
        self._nudged.clear()
        try:
            async with asyncio.timeout(wait):
                await self._nudged.wait()
        except TimeoutError:
            return True
        return False

    async def _ask(self, wants: Demand) -> None:
        if not self._lane.declared and not await self._declare():
            return
        slots = self._slots
        owed, sent = slots.tell_owed(), self._loop.time()
        try:
            if slots.clock.is_stale(sent):
                if not await self._lane.look(slots.clock):
                    await self._distrust()
                sent = self._loop.time()
            grant = await self._lane.reserve(wants, slots.widen(sent), slots.share, slots.trip + 0.001, owed)
        except (Away, StateLost) as trouble:
            slots.compensate(owed)
            await self._rest(trouble)
            return
        if grant is None:
            return
        self._lost = False
        if grant.divided:
            self._on_divided()
        if slots.learn(sent, self._loop.time(), wants, grant):
            self._on_change()
        else:
            await self._distrust()

    async def _distrust(self) -> None:
        self._slots.drop()
        log.warning("a clock has jumped: the lane waits a window", lane=self._lane.name)
        await self._tell("distrust")

    async def _declare(self) -> bool:
        """Join the lane in this epoch; whether that went well."""
        try:
            await self._lane.declare(self._slots.clock)
        except (Away, StateLost) as trouble:
            await self._rest(trouble)
            return False
        return True

    async def _rest(self, trouble: Exception) -> None:
        """No slots for now: the server is away, or it wants another epoch."""
        self._slots.ask_at = self._loop.time() + AWAY_AGAIN
        if isinstance(trouble, StateLost):
            self._lost = True
            self._slots.drop()
        await asyncio.sleep(AWAY_AGAIN)

    async def _tell(self, *what: object) -> None:
        try:
            while not self._lane.declared:
                await self._declare()
            await self._lane.tell(*what)
        except OutputError as error:
            log.warning("a change of pace was not shared", lane=self._lane.name, what=what[0], error=str(error))
