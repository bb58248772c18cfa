"""The PartLease of a replica: its part of a divided lane (`division.py`), renewed now and then and paced alone.

A lane is divided when a replica has had more jobs than slots for some time, and all have jobs of like urgency; it is a
line of slots again when nobody has more than it can send. Each part is a `Pacer` of its own: at most so many requests
in any sliding window, by its own clock. So a question every two seconds is enough, and a server that is away for two
more is not noticed.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from sender.engine.pacing.pacer import Pacer
from sender.errors import OutputError, StateLost
from sender.runtime.tasks import end
from sender.shared_state.division import LEAST, TERM, YOUNG, Division, Me, Standing, decide, rank_of
from sender.shared_state.state_connection import Away
from sender.shared_state.workload import LONG, Workload

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Demand
    from sender.engine.pacing.permit import Permit
    from sender.shared_state.reserved_slots import ReservedSlots
    from sender.shared_state.shared_lane import SharedLane
    from sender.shared_state.state_server import Holders

RENEW: Final = 2.2
"""Seconds; the part lasts `TERM`, so a server may be away for two seconds at any time."""
SURE: Final = 0.99
"""Part of the term that is used: clocks differ."""
CALM: Final = 10.0
"""Seconds without different urgencies or a change of rate, before it is."""
SOON: Final = 0.25
TRIES: Final = 4
LEAVE: Final = 1.0
"""Seconds that leaving may take when the replica ends."""

log = structlog.get_logger()


class Care:
    """How carefully the part is paced: as the replica's own guard says, and the most careful one of the lane."""

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self.window = 1.0
        self.widest = 0.0
        """The window as the most careful replica has widened it, in seconds."""

    @property
    def spread(self) -> float:
        """See `Guard.spread`."""
        return self._guard.spread if self._guard else 0.0

    @property
    def share(self) -> float:
        """See `Guard.share`."""
        share = self._guard.share if self._guard else 1.0
        return min(share, (self.window + self.spread) / self.widest) if self.widest else share

    @property
    def own(self) -> float:
        """The window as this replica has widened it."""
        return (self.window + self.spread) / (self._guard.share if self._guard else 1.0)


class PartLease:
    """Asks for the lane's division in a task of its own; `on_change` is called when the part has changed."""

    def __init__(
        self, lane: SharedLane, slots: ReservedSlots, demand: Callable[[], Demand], guard: Guard | None,
        on_change: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._slots = slots
        self._demand = demand
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._care = Care(guard)
        self.work = Workload()
        self._pacer = Pacer(1, guard=self._care)
        """Made once: what was written under an earlier part still counts."""
        self._size = 0
        self._until = -math.inf
        self.joined = False
        """Whether this replica is one of those who hold parts, or waits for one."""
        self._asked = False
        """Whether the server said that the lane is divided."""
        self._ask_at = self._asked_at = -math.inf
        self._unanswered = -1
        """The version that a change without an answer was made for: it may still come to be, until there is another."""
        self._changed = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep(), name=f"state: part of {lane.name}")
        self._keeping.add_done_callback(lambda _: self._on_change())

    def next_at(self, now: float) -> float | None:
        """The next permit's instant; None while no part is held."""
        if not self._size or now >= self._until or not self._lane.declared:
            return None
        return min(self._until, max(self._pacer.next_at(now), self._slots.not_before))

    def take(self, now: float) -> Permit:
        """The permit whose instant has come."""
        self.work.used += 1
        return self._pacer.take(now)

    async def acquire_urgent(self) -> Permit | None:
        """The next one in the window, past whatever the API asked to wait; None while no part is held."""
        if self.next_at(self._loop.time()) is None:
            return None
        permit = await self._pacer.acquire_urgent()
        if self.next_at(self._loop.time()) is not None:
            return permit
        permit.cancel()
        return None

    def want(self) -> None:
        """A job waits for its permit."""
        if self.work.want(self._loop.time()):
            self.nudge()

    def rest(self) -> None:
        """No job waits."""
        self._pacer.rest()
        if self.work.rest(self._loop.time()) and self.joined:
            self.nudge()

    def occupy(self) -> None:
        """A slot of the line was used just now: it counts in the part, too."""
        self._pacer.occupy()

    def join(self) -> None:
        """The lane is divided: ask for a part at once."""
        if not self.joined and not self._asked:
            self._asked, self._ask_at = True, -math.inf
        self.nudge()

    def renew(self) -> None:
        """Ask soon: the limit has changed."""
        self._ask_at = min(self._ask_at, self._loop.time() + SOON)
        self._changed.set()

    def nudge(self) -> None:
        """Something may be wanted; raises what ended the asking, if anything did."""
        if self._keeping.done() and not self._keeping.cancelled():
            self._keeping.result()
        self._changed.set()

    async def aclose(self) -> None:
        """Leave, so that others get the part at once, if the server answers."""
        await end((self._keeping,))
        if self.joined:
            with suppress(Away, StateLost, OutputError, TimeoutError):
                self.work.rest(-math.inf)
                async with asyncio.timeout(LEAVE):
                    await self._ask()

    async def _keep(self) -> None:
        while True:
            await self._wait_until_due()
            self._asked_at = self._loop.time()
            self._ask_at = self._asked_at + SOON
            try:
                if self._lane.declared:
                    await self._ask()
                else:
                    self.drop()
            except Away:
                continue
            except StateLost:
                self.drop()
            except OutputError as error:
                log.warning("a lane cannot be divided", lane=self._lane.name, error=str(error))
                self.drop()

    async def _wait_until_due(self) -> None:
        while (due := self._due()) > (now := self._loop.time()):
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due == math.inf else due - now):
                    await self._changed.wait()

    def _due(self) -> float:
        if self.joined:
            return max(self._asked_at + SOON, min(self._ask_at, self.work.idle_at))
        if self._asked:
            return self._ask_at
        if self.work.resting or self._slots.limit < LEAST:
            return math.inf
        return max(self._ask_at, self.work.busy_since + LONG)

    async def _ask(self) -> None:
        """Renew what is held, and change what is not as it should be."""
        sent = self._loop.time()
        self._care.window = self._slots.window
        holders = await self._lane.divide(0, None, parts=False, care=self._care.own)
        for _ in range(TRIES):
            if holders is None:
                self.drop()
                return
            standing = self._learn(sent, holders)
            me = self._me(standing, sent)
            if not self._may_divide(standing, holders, me):
                return
            wanted = decide(standing, me)
            if wanted == standing.division and holders.version > self._unanswered:
                break
            self._resize(min(self._size, _size_in(wanted, me.owner)))
            sent, before, self._unanswered = self._loop.time(), self._unanswered, holders.version
            holders = await self._lane.divide(
                holders.version, wanted.write(), parts=bool(wanted.parts), care=self._care.own
            )
            self._unanswered = before
        self._plan(standing, sent)

    def _learn(self, sent: float, holders: Holders) -> Standing:
        received, slots, owner = self._loop.time(), self._slots, self._lane.owner
        slots.clock.learn(sent, received, holders.now / 1e6)
        division = Division.read(holders.division)
        joined, size = owner in division.parts, _size_in(division, owner)
        changed = received >= self._until or (self.joined, slots.paused) != (joined, holders.held)
        slots.paused, slots.limit, slots.window = holders.held, holders.limit, holders.window / 1e6
        if holders.paused_until > holders.now:
            slots.not_before = max(slots.not_before, slots.clock.to_loop(holders.paused_until / 1e6))
        settled = holders.now >= holders.floor and holders.version > self._unanswered
        self._care.widest = holders.care / 1e6
        self.joined, self._until = joined, sent + SURE * TERM
        if changed:
            self._pacer.rest()
            self._on_change()
        begins = slots.clock.to_loop(holders.begins / 1e6) + slots.clock.error
        self._resize(size if settled else min(size, self._size), begins)
        heard = {one: at / 1e6 for one, at in holders.heard.items()}
        young = not division.parts or holders.now < holders.begins + YOUNG * 1e6
        return Standing(division, holders.now / 1e6, holders.limit, slots.window, heard,
                        received - slots.clock.even_since, settled, holders.replicas, young)

    def _me(self, standing: Standing, sent: float) -> Me:
        demand, now = self._demand(), self._loop.time()
        wish = self.work.wish(now, standing.limit, sum(demand), joined=self.joined, holds=self._size)
        return Me(self._lane.owner, wish, rank_of(demand), self._pacer.unwritten, standing.now + now - sent)

    def _may_divide(self, standing: Standing, holders: Holders, me: Me) -> bool:
        """Whether there is anything to decide: a line of slots stays one while it has to, or while it is enough."""
        calm = not holders.held and (holders.now - holders.unsettled) / 1e6 >= CALM
        if standing.division.parts or (calm and standing.can_be_divided and me.wish >= standing.limit):
            return True
        self._asked = False
        self._ask_at = self._loop.time() + LONG
        return False

    def _plan(self, standing: Standing, now: float) -> None:
        """When to ask again; the answer may have been long in coming."""
        if not self.joined:
            self._asked, self._ask_at = self._asked and not self.work.resting, now + SOON
        elif self._size == 0:
            self._ask_at = now + SOON
        else:
            self._ask_at = now + (standing.window + SOON if standing.division.cooling else RENEW)

    def _resize(self, size: int, begins: float = -math.inf) -> None:
        if size == self._size:
            return
        if size:
            self._pacer.set_rate(size)
        if size and not self._size:  # as even as the line was that it follows
            self._pacer.rest()
            self._pacer.pause_until(begins + self._slots.window / size)
            self.work.begin(max(begins, self._loop.time()))
        self._size = size
        self._on_change()

    def drop(self) -> None:
        """Use it no more."""
        self.joined = self._asked = False
        self._resize(0)


def _size_in(division: Division, owner: int) -> int:
    part = division.parts.get(owner)
    return part.size if part else 0
