"""Replicas that divide a lane, in virtual time: the ceiling always, the whole rate while nothing changes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sender.engine.pacing.guard import Guard
from sender.shared_state.shared_pacer import SharedPacer
from sender.shared_state.state_connection import Away
from tests.shared_state.test_slewed_clock import SLEWS, SlewedLane, SlewedServer
from tests.support.virtual_time import VirtualLoop, most_in_any, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sender.shared_state.state_server import Holders

RATE = 100
SETTLED = 9.0
"""Seconds after which a lane is divided, and its parts are even."""


class Fleet:
    """Replicas of one lane; each has so many jobs."""

    def __init__(self, loop: VirtualLoop, slew: str = "none") -> None:
        self.loop = loop
        self.server = SlewedServer(loop, RATE, SLEWS[slew])
        self.stamps: list[list[float]] = []
        self.waits: list[float] = []
        self.waiting: list[list[float]] = []
        self.pacers: list[SharedPacer] = []
        self.tasks: list[asyncio.Task[None]] = []

    def add(self, *, rank: int = 1, every: float = 0.0, guard: Guard | None = None, jobs: float = float("inf")) -> int:
        """One that always has jobs, or a job in so many seconds; its number."""
        lane: Any = SlewedLane(self.server, len(self.pacers))
        waiting = [0 if every else jobs]

        def demand() -> tuple[int, int, int]:
            number = int(min(200, waiting[0]))
            return number * (rank == 0), number * (rank == 1), number * (rank == 2)

        pacer = SharedPacer(lane, demand=demand, guard=guard)
        stamps: list[float] = []

        async def write() -> None:
            while True:
                if every:
                    await asyncio.sleep(every)
                    waiting[0] = 1
                elif not waiting[0]:
                    await asyncio.sleep(0.05)
                    continue
                asked = self.loop.time()
                permit = await pacer.acquire()
                waiting[0] -= 1
                permit.written()
                stamps.append(self.loop.time())
                if not waiting[0]:
                    pacer.rest()
                if every:
                    self.waits.append(self.loop.time() - asked)

        self.pacers.append(pacer)
        self.waiting.append(waiting)
        self.stamps.append(stamps)
        self.tasks.append(asyncio.create_task(write()))
        return len(self.pacers) - 1

    async def kill(self, number: int) -> None:
        """It says nothing any more."""
        pacer = self.pacers[number]
        pacer._part.joined = False
        self.tasks[number].cancel()
        await pacer.aclose()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for pacer in self.pacers:
            await pacer.aclose()

    @property
    def all_stamps(self) -> list[float]:
        return sorted(stamp for stamps in self.stamps for stamp in stamps)

    def share(self, begin: float, end: float) -> float:
        """Part of the limit that was used between these loop times."""
        return sum(begin <= stamp < end for stamp in self.all_stamps) / (end - begin) / RATE


def play(body: Callable[[Fleet], Coroutine[None, None, None]], slew: str = "none") -> None:
    async def run(loop: VirtualLoop) -> None:
        fleet = Fleet(loop, slew)
        await body(fleet)
        await fleet.close()
        assert most_in_any(1.0, fleet.all_stamps) <= RATE

    run_virtual(run)


def test_eight_replicas_use_the_whole_limit_and_hardly_ask() -> None:
    """They reached 99.4 % at best, with a question for every fourth or fifth request."""

    async def body(fleet: Fleet) -> None:
        for _ in range(8):
            fleet.add()
        await asyncio.sleep(SETTLED)
        begin, asked = fleet.loop.time(), fleet.server.asked
        await asyncio.sleep(60)
        assert fleet.share(begin, begin + 60) >= 0.997
        assert fleet.server.asked - asked <= 0.05 * RATE * 60
        counts = [sum(stamp >= begin for stamp in stamps) for stamps in fleet.stamps]
        assert min(counts) >= 0.9 * max(counts)

    play(body)


def test_to_divide_a_lane_costs_less_than_half_a_second_of_it() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(8):
            fleet.add()
        begin = fleet.loop.time()
        await asyncio.sleep(10)
        assert fleet.server.divided
        assert fleet.share(begin, begin + 10) >= 0.95

    play(body)


def test_a_pause_of_two_seconds_is_not_noticed() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(4):
            fleet.add()
        await asyncio.sleep(SETTLED)
        for _ in range(5):
            begin = fleet.loop.time()
            fleet.server.away_until = begin + 2
            await asyncio.sleep(7.3)
            assert fleet.share(begin, begin + 7) >= 0.99

    play(body)


def test_a_server_that_is_away_for_long_stops_the_lane_and_it_comes_back() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(4):
            fleet.add()
        await asyncio.sleep(SETTLED)
        begin = fleet.loop.time()
        fleet.server.away_until = begin + 20
        await asyncio.sleep(30)
        assert fleet.share(begin + 5, begin + 20) == 0
        assert fleet.share(begin + 28, begin + 30) >= 0.97

    play(body)


def test_the_part_of_a_dead_replica_is_used_by_the_others() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(4):
            fleet.add()
        await asyncio.sleep(SETTLED)
        died = fleet.loop.time()
        await fleet.kill(2)
        await asyncio.sleep(20)
        assert 0.7 <= fleet.share(died, died + 4) <= 0.8
        assert fleet.share(died + 10, died + 20) >= 0.99

    play(body)


def test_one_that_joins_gets_its_part_within_four_seconds_and_one_that_leaves_gives_it_back() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.add()
        await asyncio.sleep(SETTLED)
        joined = fleet.loop.time()
        number = fleet.add(jobs=300)
        await asyncio.sleep(4)
        assert fleet.stamps[number]
        await asyncio.sleep(2)
        assert fleet.share(joined, joined + 6) >= 0.9
        while fleet.waiting[number][0]:
            await asyncio.sleep(0.1)
        left = fleet.loop.time()
        await asyncio.sleep(15)
        assert fleet.share(left + 5, left + 15) >= 0.99

    play(body)


def test_replicas_without_work_waste_nothing() -> None:
    async def body(fleet: Fleet) -> None:
        for number in range(8):
            fleet.add(jobs=float("inf") if number < 2 else 20)
        await asyncio.sleep(12)
        begin = fleet.loop.time()
        await asyncio.sleep(20)
        assert fleet.share(begin, begin + 20) >= 0.997

    play(body)


def test_a_job_now_and_then_takes_a_small_part_of_a_divided_lane() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.add()
        await asyncio.sleep(SETTLED)
        fleet.add(every=0.4)
        await asyncio.sleep(6)
        begin = fleet.loop.time()
        await asyncio.sleep(20)
        assert fleet.share(begin, begin + 20) >= 0.95
        waits = sorted(fleet.waits)
        assert waits[-1] < 4.0
        assert waits[len(waits) // 2] < 0.6

    play(body)


def test_a_lane_with_jobs_of_different_urgency_stays_a_line() -> None:
    async def body(fleet: Fleet) -> None:
        fleet.add(rank=2)
        fleet.add(rank=2)
        fleet.add(rank=0)
        await asyncio.sleep(20)
        assert not fleet.server.divided

    play(body)


def test_urgent_jobs_end_a_division() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.add(rank=2)
        await asyncio.sleep(SETTLED)
        assert fleet.server.divided
        urgent = fleet.add(rank=0)
        await asyncio.sleep(5)
        assert not fleet.server.divided
        assert fleet.stamps[urgent]

    play(body)


def test_an_urgent_permit_of_one_without_a_part_waits_no_longer_than_a_part_does() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.add()
        await asyncio.sleep(SETTLED)
        lane: Any = SlewedLane(fleet.server, 77)
        probe = SharedPacer(lane, demand=lambda: (0, 0, 0))
        async with asyncio.timeout(4.5):
            (await probe.acquire_urgent()).written()
        async with asyncio.timeout(1.0):
            (await fleet.pacers[0].acquire_urgent()).written()
        assert probe.requests == 1
        await probe.aclose()

    play(body)


def test_slewed_clocks_cost_a_divided_lane_nothing() -> None:
    for slew in ("1000 ppm fast", "1000 ppm slow", "to and fro"):

        async def body(fleet: Fleet) -> None:
            for _ in range(4):
                fleet.add()
            await asyncio.sleep(SETTLED)
            begin = fleet.loop.time()
            await asyncio.sleep(20)
            assert fleet.share(begin, begin + 20) >= 0.997

        play(body, slew)


def test_a_careful_guard_slows_its_own_part() -> None:
    async def body(fleet: Fleet) -> None:
        guard = Guard()
        guard.share = 0.5
        careful = fleet.add(guard=guard)
        other = fleet.add()
        await asyncio.sleep(SETTLED)
        before = [len(fleet.stamps[number]) for number in (careful, other)]
        await asyncio.sleep(10)
        after = [len(fleet.stamps[number]) for number in (careful, other)]
        assert after[0] - before[0] <= 270
        assert after[1] - before[1] <= 520

    play(body)


def test_a_stalled_process_keeps_the_ceiling_and_makes_up_what_it_can() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(4):
            fleet.add()
        await asyncio.sleep(SETTLED)
        begin = fleet.loop.time()
        for _ in range(10):
            fleet.loop.stall(0.15)
            await asyncio.sleep(0.85)
        assert fleet.share(begin, fleet.loop.time()) >= 0.97
        assert max(later - earlier for earlier, later in pairwise(fleet.all_stamps)) < 0.5

    play(body)


def test_a_pause_by_an_operator_holds_the_parts_and_a_resume_lets_them_go() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.add()
        await asyncio.sleep(SETTLED)
        paused = fleet.loop.time()
        fleet.server.held = True
        await asyncio.sleep(10)
        assert fleet.share(paused + 2.5, paused + 10) == 0
        resumed = fleet.loop.time()
        fleet.server.held = False
        await asyncio.sleep(10)
        assert fleet.share(resumed + 2.5, resumed + 10) >= 0.99

    play(body)


def test_a_change_whose_answer_was_given_up_is_overtaken_before_the_part_is_used_again() -> None:
    """A server that stood still carries out later what it was told meanwhile: a part that had been given back then was
    used on, since there were jobs again, and by another, too."""

    async def body(fleet: Fleet) -> None:
        server = fleet.server
        number = fleet.add()
        fleet.add()
        await asyncio.sleep(SETTLED)
        carry_out, lost, asked = server.divide, list[int](), list[bool]()

        def lose_one(owner: int, version: int, division: bytes | None, parts: bool, care: float) -> Holders:
            changes = division is not None
            if owner == 1 and changes and not lost:
                lost.append(version)
                raise Away
            if owner == 1 and lost and len(asked) < 2:
                server.version, server.division = lost[0], before  # nobody else has changed anything
                assert fleet.pacers[number]._part.next_at(fleet.loop.time()) is None
                asked.append(changes)
            return carry_out(owner, version, division, parts, care)

        server.divide, before = lose_one, server.division  # type: ignore[method-assign]
        part = fleet.pacers[number]._part
        part.work.rest(0.0)  # it leaves, and has jobs again
        part.nudge()
        await asyncio.sleep(0.1)
        part.work.want(fleet.loop.time())
        part.work._wish = RATE
        await asyncio.sleep(5)
        assert asked == [False, True]
        assert server.version > lost[0]
        assert part.next_at(fleet.loop.time()) is not None

    play(body)


def test_a_change_of_rate_is_followed_by_all_parts_without_a_stop() -> None:
    async def body(fleet: Fleet) -> None:
        for _ in range(3):
            fleet.add()
        await asyncio.sleep(SETTLED)
        fleet.server.limit = 40
        await asyncio.sleep(3)
        slowed = fleet.loop.time()
        await asyncio.sleep(7)
        after = [stamp for stamp in fleet.all_stamps if stamp >= slowed]
        assert most_in_any(1.0, after) <= 40
        assert len(after) >= 0.97 * 7 * 40
        fleet.server.limit = RATE
        await asyncio.sleep(5)
        begin = fleet.loop.time()
        await asyncio.sleep(5)
        assert fleet.share(begin, begin + 5) >= 0.99
        fleet.server.limit = 10
        await asyncio.sleep(8)
        assert not fleet.server.divided
        slowed = fleet.loop.time()
        await asyncio.sleep(7)
        after = [stamp for stamp in fleet.all_stamps if stamp >= slowed]
        assert most_in_any(1.0, after) <= 10
        assert len(after) >= 0.9 * 7 * 10

    play(body)
