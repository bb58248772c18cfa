"""However often and whenever a lane is stopped, and whatever its ledger does: the books balance and are true."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sender.errors import OutputError
from sender.transport import Reply, TransportFault
from tests.engine.world import OK, World, give, make_lane, run
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.engine.lane import Lane
    from sender.ledger.ledger import HandOverRecord, JobRecord
    from tests.support.virtual_time import VirtualLoop



class SlowLedger(MemoryLedger):
    """Takes its time, and fails from an instant on, after which nothing changes in it."""

    def __init__(self, seconds: float, *, full_at: float = float("inf")) -> None:
        super().__init__()
        self._seconds = seconds
        self._full_at = 1000 + full_at

    async def _work(self) -> None:
        await asyncio.sleep(self._seconds)
        if asyncio.get_running_loop().time() >= self._full_at:
            raise OutputError("the disk is full")

    async def hand_over(self, claims: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        await self._work()
        return await super().hand_over(claims)

    async def release(self, keys: Sequence[str]) -> None:
        await self._work()
        await super().release(keys)


def handed_over(world: World) -> int:
    return Counter(row.state for row in world.ledger._rows.values())["handed_over"]


async def run_to_its_end(lane: Lane) -> None:
    try:
        async with asyncio.timeout(100):
            await lane.run()
    except* OutputError:
        pass


def test_a_second_and_a_third_stop_while_jobs_are_released() -> None:
    """The release was cut short by the next signal: its jobs stood nowhere, and were told to be in doubt."""
    world = World(lambda number, now: (1, TransportFault("connect_failed", "unwritten", "m")), ledger=SlowLedger(0.5))

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world)
        give(lane, 300)
        for at in (2.0, 2.2, 2.4, 2.6, 2.8):
            loop.call_later(at, lane.abort)
        await run_to_its_end(lane)
        assert world.left == 300, "known as soon as the lane has ended"

    run_virtual(body)
    assert handed_over(world) == 0


def test_an_answer_that_has_come_is_seen_to_its_end() -> None:
    """An abort in the moment in which the ledger was told lost the job."""
    world = World(lambda number, now: (0.1, Reply(503, "", b"", "1")), ledger=SlowLedger(0.5))

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, rate=10)
        give(lane, 20)
        loop.call_later(1.0, lane.abort)
        await run_to_its_end(lane)
        assert world.left == 20

    run_virtual(body)
    assert handed_over(world) == 0


def test_jobs_that_the_ledger_did_not_take_are_not_started() -> None:
    """They were told to be in doubt, though the ledger knows nothing of them."""
    world = World(lambda number, now: (0.1, OK), ledger=SlowLedger(0.01, full_at=0))
    left = run_broken(world, 50)
    assert (left, handed_over(world), world.written) == (50, 0, [])


def test_a_disk_that_is_full_while_retries_are_due_ends_the_lane() -> None:
    """The run hung, and two SIGINTs did nothing."""
    world = World(lambda number, now: (0.1, Reply(503, "", b"", "1")), ledger=SlowLedger(0.01, full_at=3.0))
    left = run_broken(world, 200)
    assert left + len(world.ended) + handed_over(world) == 200
    assert set(world.statuses()) <= {"in_doubt"}, "under way when the lane had to end"


def run_broken(world: World, count: int) -> int:
    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world)
        give(lane, count)
        running = asyncio.create_task(run_to_its_end(lane))
        async with asyncio.timeout(60):
            await lane.drained()
            await running

    run_virtual(body)
    return world.left


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 80), stops=st.lists(st.floats(0, 3), max_size=5),
    slow=st.sampled_from([0.0, 0.03, 0.4]), full_at=st.none() | st.floats(0, 4),
)
def test_the_books_are_true(seed: int, count: int, stops: list[float], slow: float, full_at: float | None) -> None:
    """What is neither ended nor left stands in the ledger as handed over, and nothing else does."""
    chance = random.Random(seed)
    faults = [
        TransportFault("connect_failed", "unwritten", "m"), TransportFault("timeout", "written", "m"),
        Reply(503, "", b"", "0"), Reply(429, "", b""), Reply(403, "", b""), Reply(400, "", b""),
    ]
    share = chance.random()
    ledger = SlowLedger(slow, full_at=float("inf") if full_at is None else full_at)

    def script(number: int, now: float) -> tuple[float, Any]:
        return chance.uniform(0, 1), chance.choice(faults) if chance.random() < share else OK

    world = World(script, answers=lambda now: chance.random() < 0.7, ledger=ledger)

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, max_outage=20)
        give(lane, count)
        for number, at in enumerate(sorted(stops)):
            loop.call_later(at, lane.abort if number else lane.stop)
        loop.call_later(60, lane.abort)
        await run_to_its_end(lane)
        await asyncio.sleep(1)  # the ends are recorded beside the lane

    run_virtual(body)
    ids = [one.outcome.id for one in world.ended]
    assert len(ids) == len(set(ids))
    assert len(ids) + world.left + handed_over(world) == count


def test_what_has_arrived_is_read_before_a_stop_at_once() -> None:
    """A second Ctrl-C to a process that had stood still put jobs in doubt whose answers it held already."""
    world = World(lambda number, now: (0.5, OK))

    def before(loop: VirtualLoop, lane: Lane) -> None:
        def stall_and_stop() -> None:
            loop.stall(30)
            lane.abort()

        loop.call_later(1.0, stall_and_stop)

    left = run(world, 300, before=before)
    assert world.statuses() == {"sent": 300 - left}
    assert left
