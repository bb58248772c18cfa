"""A whole lane on virtual time, against an API that does anything at any time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.transport import Reply, TransportFault
from tests.engine.world import OK, World, body_of, give, make_lane, run, work_off
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import most_in_any, run_virtual

if TYPE_CHECKING:
    from sender.engine.lane import Lane
    from tests.support.virtual_time import VirtualLoop



@pytest.mark.parametrize("service", [0.02, 0.3])
def test_full_rate_whatever_the_service_time(service: float) -> None:
    world = World(lambda number, now: (service, OK))
    assert run(world, 2000) == 0
    assert world.statuses() == {"sent": 2000}
    assert most_in_any(1.0, world.written) <= 100
    assert 1999 / (world.written[-1] - world.written[0]) >= 99.5


def test_varying_service_times_cost_nothing() -> None:
    chance = random.Random(3)
    world = World(lambda number, now: (chance.uniform(0.02, 0.3), OK))
    run(world, 3000)
    assert most_in_any(1.0, world.written) <= 100
    assert 2999 / (world.written[-1] - world.written[0]) >= 99


def test_no_burst_after_idle() -> None:
    world = World(lambda number, now: (0.05, OK))

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world)
        give(lane, 150)
        running = asyncio.create_task(lane.run())
        await asyncio.sleep(20)
        for number in range(1000, 1300):
            key = body_of(number).decode()
            lane.accept(Job(str(number), key, "c", KINDS["email"], "/v1/send/email", key.encode(), "f", number))
        await lane.drained()
        lane.stop()
        await running

    run_virtual(body)
    late = [stamp for stamp in world.written if stamp >= 1019]
    assert len(late) == 300
    assert most_in_any(0.1, late) <= 11


def test_jobs_start_in_order() -> None:
    world = World(lambda number, now: (0.05, OK))
    run(world, 300)
    assert world.bodies == [body_of(number) for number in range(300)]


def test_safe_failures_are_tried_again_and_given_up_at_last() -> None:
    refused = TransportFault("connection_reset", "unwritten", "m")
    world = World(lambda number, now: (0.01, refused if number % 3 == 0 and now < 50 else OK))
    run(world, 30)
    assert world.statuses()["sent"] == 30
    # One job that always fails among others that do not.
    bad = World(lambda number, now: (0.01, refused if bad.bodies[number] == body_of(3) else OK))
    run(bad, 20, max_attempts=4)
    failed = [ended.outcome for ended in bad.ended if ended.outcome.status == "failed"]
    assert [(outcome.id, outcome.attempts) for outcome in failed] == [("3", 4)]
    assert bad.statuses()["sent"] == 19


def test_429_never_counts_and_retry_after_is_a_floor() -> None:
    world = World(lambda number, now: (0.02, Reply(429, "", b"", "3") if number == 20 else OK))
    run(world, 200, max_attempts=1)
    assert world.statuses() == {"sent": 200}
    gaps = [later - earlier for earlier, later in zip(world.written, world.written[1:], strict=False)]
    assert max(gaps) >= 2.9


def test_a_storm_of_429_fails_nobody() -> None:
    world = World(lambda number, now: (0.02, Reply(429, "", b"") if now < 60 else OK))
    run(world, 50, max_attempts=2)
    assert world.statuses() == {"sent": 50}
    assert len(world.bodies) < 400


def test_too_long_a_wait_halts_and_says_until_when() -> None:
    world = World(lambda number, now: (0.02, Reply(429, "", b"", "5000") if number == 5 else OK))
    left = run(world, 100)
    assert "until 2027-" in str(world.halts[0])
    assert left + len(world.ended) == 100


@pytest.mark.parametrize("how", ["refused", "502", "hang"])
def test_an_outage_of_a_minute(how: str) -> None:
    """None is lost or failed, few are in doubt, and it goes on by itself soon after the API is back."""

    def script(number: int, now: float) -> tuple[float, Reply | TransportFault]:
        if not 10 <= now < 70:
            return 0.1, OK
        if how == "refused":
            return 0.001, TransportFault("connect_failed", "unwritten", "m")
        if how == "502":
            return 0.1, Reply(502, "", b"")
        return 20.0, TransportFault("timeout", "written", "m")

    world = World(script, answers=lambda now: not 10 <= now < 70)
    assert run(world, 3000, max_attempts=3) == 0
    assert world.statuses()["failed"] == 0
    assert world.statuses()["in_doubt"] <= 10 + 2 * 10
    assert world.statuses().total() == 3000
    back = min(stamp for stamp in world.written if stamp >= 1070)
    assert back <= 1080
    after = [stamp for stamp in world.written if stamp > 1082]
    assert len(after) / (max(after) - min(after)) > 99


def test_a_halt_gives_the_jobs_back() -> None:
    world = World(lambda number, now: (0.02, Reply(401, "", b"") if number == 30 else OK))
    left = run(world, 100)
    assert "401" in str(world.halts[0])
    assert left + len(world.ended) == 100
    assert world.statuses() == {"sent": len(world.ended)}


def test_expired_jobs_are_not_requested() -> None:
    world = World(lambda number, now: (0.02, OK))

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, 10)
        give(lane, 50, expires_at=1_800_000_000 + loop.time() + 2)
        await work_off(lane)

    run_virtual(body)
    assert world.statuses()["invalid"] > 20
    assert world.statuses().total() == 50
    assert len(world.bodies) == world.statuses()["sent"]


def test_ends_that_wait_for_a_commit_are_in_the_hands_of_the_ledger_before_a_hand_over() -> None:
    asked: list[str] = []

    class Sharing(World):
        def commit_begins(self) -> bool:
            asyncio.get_running_loop().call_soon(asked.append, "ends")
            return True

    class Noting(MemoryLedger):
        async def hand_over(self, records: Any) -> Any:
            asked.append("hand-over")
            return await super().hand_over(records)

    world = Sharing(lambda number, now: (0.05, OK), ledger=Noting())
    run(world, 20)
    assert world.statuses() == {"sent": 20}
    assert asked
    assert asked == ["ends", "hand-over"] * (len(asked) // 2)


def test_at_most_50_ms_of_slots_are_handed_over_ahead() -> None:
    world = World(lambda number, now: (0.1, OK))
    most: list[int] = []

    def watch(loop: VirtualLoop, lane: Lane) -> None:
        def look() -> None:
            states = Counter(row.state for row in world.ledger._rows.values())
            most.append(states["handed_over"] - lane.in_hand)
            loop.call_later(0.003, look)

        look()

    run(world, 500, before=watch)
    # One that has just ended may not be settled yet.
    assert max(most) <= 5 + 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 120), stop_at=st.none() | st.floats(0, 6), abort=st.booleans())
def test_never_two_outcomes_and_the_books_balance(seed: int, count: int, stop_at: float | None, abort: bool) -> None:
    """Any answers, any delays, stop or abort at any instant."""
    chance = random.Random(seed)
    faults = [
        TransportFault("connect_failed", "unwritten", "m"), TransportFault("timeout", "written", "m"),
        Reply(500, "", b""), Reply(503, "", b"", "0"), Reply(429, "", b""), Reply(400, "", b'{"meta":{"error":"x"}}'),
        Reply(200, "", b"{}"),
    ]
    share = chance.random()

    def script(number: int, now: float) -> tuple[float, Reply | TransportFault]:
        answer = chance.choice(faults) if chance.random() < share and now < 30 else OK
        return chance.uniform(0, 1), answer

    world = World(script, answers=lambda now: chance.random() < 0.7)

    def before(loop: VirtualLoop, lane: Lane) -> None:
        if stop_at is not None:
            loop.call_later(stop_at, lane.abort if abort else lane.stop)

    left = run(world, count, before=before)
    ids = [ended.outcome.id for ended in world.ended]
    assert len(ids) == len(set(ids)), "one outcome for each job"
    assert len(ids) + left == count
    assert most_in_any(1.0, world.written) <= 100
    accepted = Counter(world.bodies)
    for ended in world.ended:
        assert ended.outcome.attempts == accepted[body_of(ended.outcome.id)]
    states = Counter(row.state for row in world.ledger._rows.values())
    assert states["handed_over"] == 0, "what was not written was released"
