"""A server whose clock is slewed, as NTP slews it: the ceiling holds, and so does the rate (200 ppm left 37 requests a
second of 100, 500 ppm 1.4)."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from sender.engine.pacing.pace import window_of
from sender.shared_state.division import TERM
from sender.shared_state.server_clock import DRIFT, ServerClock
from sender.shared_state.shared_pacer import SharedPacer
from sender.shared_state.state_server import Grant, Holders
from tests.support.replica import results, start_replicas
from tests.support.virtual_time import VirtualLoop, most_in_any, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.state_servers import StateServer


class SlewedServer:
    """The line of slots of one lane (`reserve.lua` without classes), on a clock whose speed the test says."""

    def __init__(self, loop: VirtualLoop, rate: float, slew: Callable[[float], float]) -> None:
        self._loop = loop
        self.rate = rate
        self.limit, self.window = window_of(rate)
        self._slew = slew
        self._seen = loop.time()
        self._clock = 1.8e9
        self._last = 0.0
        self.asked = 0
        self.away_until = 0.0
        """Loop time until which it does not answer."""
        self.divided = self.held = False
        self.division, self.version, self.begins, self.floor, self.unsettled = b"", 0, 0.0, 0.0, 0.0
        self.heard: dict[int, float] = {}
        self.active: dict[int, float] = {}

    def now(self) -> float:
        elapsed, self._seen = self._loop.time() - self._seen, self._loop.time()
        self._clock += elapsed * (1 + self._slew(self._seen) * 1e-6)
        return self._clock

    def grant(self, owner: int, wanted: int, widened: float, lead: float, owed: float) -> Grant:
        self.asked += 1
        now = self.active[owner] = self.now()
        if self.divided:
            return Grant(*(value * 1e6 for value in (now, 0, now, 0, now + 0.3, 0, 0, self.limit / 1e6)),
                         self.window * 1e6, divided=1)
        step = (self.window + widened) / self.limit
        first = max(self._last + owed + step, now + lead, self.floor)
        room = int((now + 0.5 - first) / step) + 1
        count = max(0, min(wanted, max(1, int(0.21 / step)), room))
        if count:
            self._last = first + (count - 1) * step
        again = max(now, first + count * step - 0.42)
        return Grant(*(value * 1e6 for value in (now, count / 1e6, first, step, again, 0, 0, self.limit / 1e6)),
                     self.window * 1e6)


    def divide(self, owner: int, version: int, division: bytes | None, parts: bool, care: float) -> Holders:
        """`divide.lua` without guards and jumps."""
        self.asked += 1
        now = self.now()
        self.version += self.heard.get(owner, now) < now - TERM
        self.heard[owner] = now
        if division is not None and version == self.version:
            self.version, self.division = version + 1, division
            if not parts:
                self.floor, self.unsettled = max(self.floor, now + self.window + 0.05), now
            elif not self.divided:
                self.begins = max(self._last, self.floor, now) + 0.25
            self.divided = parts
        active = sum(at > now - 1.5 for at in self.active.values())
        return Holders(now * 1e6, self.version, self.division, self.begins * 1e6, self.floor * 1e6, self.limit,
                       int(self.window * 1e6), self.held, 0, self.unsettled * 1e6, care * 1e6, active,
                       {one: at * 1e6 for one, at in self.heard.items()})


class SlewedLane:
    """A `SharedLane` to that server, with the delays of a network."""

    def __init__(self, server: SlewedServer, seed: int) -> None:
        self.name, self.rate, self.away, self.declared = "send", server.rate, False, False
        self.owner = seed + 1
        self._server = server
        self._chance = random.Random(seed)

    async def declare(self, clock: ServerClock) -> None:
        for _ in range(6):
            await self.look(clock)
        self.declared = True

    async def look(self, clock: ServerClock) -> bool:
        sent = asyncio.get_running_loop().time()
        await self._travel()
        now = self._server.now()
        await self._travel()
        return clock.learn(sent, asyncio.get_running_loop().time(), now)

    async def reserve(
        self, wants: tuple[int, int, int], widened: float, share: float, lead: float, owed: float, *,
        urgent: bool = False,
    ) -> Grant:
        await self._travel()
        grant = self._server.grant(self.owner, 1 if urgent else sum(wants), widened, lead, owed)
        await self._travel()
        return grant

    async def divide(self, version: int, division: bytes | None, *, parts: bool, care: float) -> Holders:
        await self._travel()
        holders = self._server.divide(self.owner, version, division, parts, care)
        await self._travel()
        return holders

    async def tell(self, *what: object) -> None:
        raise AssertionError(f"the lane was told {what}: a slew is no jump")

    async def _travel(self) -> None:
        await asyncio.sleep(max(0.0, self._server.away_until - asyncio.get_running_loop().time()))
        await asyncio.sleep(self._chance.uniform(0.0001, 0.0015))


async def stamps_of(
    loop: VirtualLoop, server: SlewedServer, seconds: float, replicas: int = 2, late: float = 0.001
) -> list[float]:
    lanes: Any = [SlewedLane(server, seed) for seed in range(replicas)]
    pacers = [SharedPacer(lane, demand=lambda: (0, 50, 0)) for lane in lanes]
    stamps: list[float] = []

    async def write(pacer: SharedPacer, chance: random.Random) -> None:
        while True:
            permit = await pacer.acquire()
            await asyncio.sleep(chance.uniform(0, late))
            permit.written()
            stamps.append(loop.time())

    writers = [asyncio.create_task(write(pacer, random.Random(n))) for n, pacer in enumerate(pacers)]
    await asyncio.sleep(seconds)
    for one in writers:
        one.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    for pacer in pacers:
        await pacer.aclose()
    return stamps


SLEWS: dict[str, Callable[[float], float]] = {
    "none": lambda _: 0, "500 ppm fast": lambda _: 500, "500 ppm slow": lambda _: -500, "1000 ppm fast": lambda _: 1000,
    "1000 ppm slow": lambda _: -1000, "to and fro": lambda now: 1000 if int(now) % 7 < 3 else -1000,
}


@pytest.mark.parametrize("name", SLEWS)
@pytest.mark.parametrize(("rate", "seconds"), [(100, 40), (10, 60), (1000, 15), (0.1, 600)])
def test_the_ceiling_and_the_rate_hold(name: str, rate: float, seconds: float) -> None:
    async def body(loop: VirtualLoop) -> None:
        server = SlewedServer(loop, rate, SLEWS[name])
        stamps = await stamps_of(loop, server, seconds)
        assert most_in_any(server.window, stamps) <= server.limit
        assert (len(stamps) - 1) / (stamps[-1] - stamps[0]) >= 0.95 * rate

    run_virtual(body)


def test_an_idle_lane_reads_the_clock_before_it_relies_on_it() -> None:
    """Else the first window after an idle hour would be wider by seconds."""

    async def body(loop: VirtualLoop) -> None:
        server = SlewedServer(loop, 100, SLEWS["1000 ppm fast"])
        lane: Any = SlewedLane(server, 1)
        busy = [0]
        pacer = SharedPacer(lane, demand=lambda: (0, busy[0], 0))
        for _ in range(3):
            busy[0], stamps = 300, []
            while busy[0]:
                (await pacer.acquire()).written()
                stamps.append(loop.time())
                busy[0] -= 1
            assert most_in_any(1.0, stamps) <= 100
            assert 299 / (stamps[-1] - stamps[0]) >= 95
            await asyncio.sleep(3600)
        await pacer.aclose()

    run_virtual(body)


def test_an_urgent_slot_far_ahead_is_placed_when_it_is_near() -> None:
    async def body(loop: VirtualLoop) -> None:
        server = SlewedServer(loop, 0.1, SLEWS["1000 ppm fast"])
        lane: Any = SlewedLane(server, 1)
        pacer = SharedPacer(lane, demand=lambda: (0, 0, 0))
        stamps = []
        for _ in range(20):
            (await pacer.acquire_urgent()).written()
            stamps.append(loop.time())
        assert most_in_any(10.0, stamps) <= 1
        await pacer.aclose()

    run_virtual(body)


@pytest.mark.parametrize("slew", [-1000, -200, 0, 500, 1000])
def test_what_the_clock_says_is_as_good_as_it_says(slew: float) -> None:
    clock, chance, offset, now = ServerClock(), random.Random(5), 5e8, 1000.0
    for _ in range(3000):
        step = chance.choice([0.01, 0.3, 5.0])
        now += step
        offset += step * slew * 1e-6
        there, back = chance.uniform(0, 0.01), chance.uniform(0, 0.01)
        assert clock.learn(now - there, now + back, now + offset)
        assert abs(clock.to_loop(now + offset) - now) <= clock.error + 1e-6
        assert clock.error_at(now + 1) >= clock.error + DRIFT / 2


@pytest.mark.parametrize("slew", [500, -500])
def test_four_processes_on_a_real_server_whose_clock_runs_otherwise(state_server: StateServer, slew: float) -> None:
    """Only how the two clocks differ counts: here that of the processes is slewed, and their stamps are by it."""
    figures = results(start_replicas(state_server, *[{"seconds": 6, "slew": slew}] * 4))
    stamps = sorted(stamp for one in figures for stamp in one["stamps"])
    assert most_in_any(1.0, stamps) <= 100
    assert len(stamps) > 6 * 40, "the lane never stood, whatever the machine has to do beside"


def test_writes_that_come_late_are_told_together() -> None:
    """Each was a question of its own: 60 a second more at a machine that is busy."""

    async def body(loop: VirtualLoop) -> None:
        server = SlewedServer(loop, 100, SLEWS["none"])
        stamps = await stamps_of(loop, server, 40, replicas=4, late=0.02)
        assert most_in_any(1.0, stamps) <= 100
        assert (len(stamps) - 1) / (stamps[-1] - stamps[0]) >= 40
        assert server.asked / 40 < 40

    run_virtual(body)
