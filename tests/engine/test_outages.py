"""Outages, stalls and throttling: what counts against a job, what halts a run, and how a lane finds its way back."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from sender.engine.pacing.pacer import Pacer
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.transport import Reply, TransportFault
from tests.engine.world import OK, World, body_of, make_lane, run
from tests.support.virtual_time import most_in_any, run_virtual

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop


REFUSED = Reply(503, "application/json", b'{"meta":{"error":"not now"}}')
"""Safe: nothing was accepted."""


def test_a_lone_job_that_always_fails_is_given_up() -> None:
    """Its fifth try opened the breaker and counted as outage, and so did all that followed: the run never ended."""
    world = World(lambda number, now: (0.05, REFUSED))
    assert run(world, 1) == 0
    (ended,) = world.ended
    assert (ended.outcome.status, ended.outcome.attempts) == ("failed", 6)
    assert world.halts == []
    assert world.probes, "that the API answers is what makes it the job's fault"


@pytest.mark.parametrize("tries", [1, 2, 8])
def test_so_are_few_jobs_whatever_the_number_of_tries(tries: int) -> None:
    world = World(lambda number, now: (0.05, REFUSED))
    assert run(world, 4, max_attempts=tries) == 0
    assert world.statuses() == {"failed": 4}


def test_tries_of_an_outage_do_not_count() -> None:
    world = World(
        lambda number, now: (0.01, TransportFault("connect_failed", "unwritten", "m") if now < 3000 else OK),
        answers=lambda now: now >= 3000,
    )
    assert run(world, 1) == 0
    assert world.statuses() == {"sent": 1}
    assert max(later - earlier for earlier, later in pairwise(world.probes)) <= 5


@pytest.mark.parametrize("probe_answered", [True, False])
def test_probes_come_at_least_every_5_s(probe_answered: bool) -> None:
    """A trial that failed doubled the wait for the next probe, too: gaps of up to 32 s."""
    world = World(
        lambda number, now: (0.05, REFUSED if now < 400 else OK), answers=lambda now: probe_answered or now >= 400
    )
    run(world, 3, max_attempts=50)
    assert world.statuses() == {"sent": 3}
    gaps = [later - earlier for earlier, later in pairwise(world.probes)]
    assert gaps
    assert max(gaps) <= 5
    if probe_answered:
        assert 8 <= len([stamp for stamp in world.written if stamp < 1400]) <= 20, "trials are fewer than probes"


def test_an_outage_halts_and_tells_what_was_seen() -> None:
    world = World(lambda number, now: (0.01, TransportFault("connect_failed", "unwritten", "m")), lambda now: False)
    assert run(world, 10, max_outage=600) == 10
    told = str(world.halts[0])
    assert "--max-outage" in told
    assert "a GET was answered 502" in told
    assert 600 < world.probes[-1] < 620


def test_429_for_ever_halts() -> None:
    """A 429 is an answer, and so the outage never began."""
    world = World(lambda number, now: (0.02, Reply(429, "", b"", "30" if number % 2 else None)))
    assert run(world, 10, max_outage=600) == 10
    told = str(world.halts[0])
    assert "in the lane send" in told
    assert "429 to everything" in told
    assert 1600 < world.written[-1] < 1700
    assert most_in_any(1.0, world.written) <= 100


def test_one_429_now_and_then_is_no_outage() -> None:
    world = World(lambda number, now: (0.02, Reply(429, "", b"") if number % 50 == 0 else OK))
    assert run(world, 3000, max_outage=5) == 0
    assert world.halts == []


def trickle(world: World, times: list[float], **policy: Any) -> None:
    """A stream that gives a job now and then, and stays open."""

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, **policy)
        running = asyncio.create_task(lane.run())
        for number, at in enumerate(times):
            await asyncio.sleep(at + 1000 - loop.time())
            key = body_of(number).decode()
            lane.accept(Job(key, key, "c", KINDS["email"], "/v1/send/email", key.encode(), "f", number))
        await asyncio.sleep(10)
        lane.stop()
        await running

    run_virtual(body)


def test_a_quiet_stream_does_not_halt() -> None:
    """Five 500s and answered probes, then silence on an open stdin: exit 3 after an hour."""
    world = World(lambda number, now: (0.02, Reply(500, "", b"") if number < 5 else OK))
    trickle(world, [0, 0, 0, 0, 0, 8000])
    assert world.halts == []
    assert world.statuses() == {"in_doubt": 5, "sent": 1}


def test_nor_when_the_api_is_away_and_nobody_wants_anything() -> None:
    world = World(
        lambda number, now: (0.02, Reply(500, "", b"") if number < 5 else OK), answers=lambda now: now >= 9000
    )
    trickle(world, [0, 0, 0, 0, 0, 8900])
    assert world.halts == []
    assert world.statuses() == {"in_doubt": 5}
    assert world.left + len(world.ended) == 6


def test_429s_of_jobs_far_apart_are_no_outage() -> None:
    world = World(lambda number, now: (0.02, Reply(429, "", b"") if number % 2 == 0 else OK))
    trickle(world, [0, 4000, 8000])
    assert world.halts == []
    assert world.statuses() == {"sent": 3}


@pytest.mark.parametrize("asleep", [3.0, 4000.0])
def test_a_process_that_stood_still_takes_that_for_no_stall_and_no_outage(asleep: float) -> None:
    world = World(lambda number, now: (0.1, OK))
    lanes: list[Any] = []

    def before(loop: VirtualLoop, lane: Any) -> None:
        lanes.append(lane)
        loop.call_later(1.05, loop.stall, asleep)

    assert run(world, 300, before=before, max_outage=60) == 0
    assert world.statuses() == {"sent": 300}
    assert (lanes[0].breaker.opened, world.probes, world.halts) == (0, [], [])
    assert most_in_any(1.0, world.written) <= 100


def test_sleeping_through_an_outage_is_not_measured() -> None:
    world = World(
        lambda number, now: (0.01, TransportFault("connect_failed", "unwritten", "m") if now < 30 else OK),
        answers=lambda now: now >= 30,
    )
    assert run(world, 5, before=lambda loop, lane: loop.call_later(20, loop.stall, 7200)) == 0
    assert world.halts == []
    assert world.statuses() == {"sent": 5}


def test_an_urgent_permit_waits_for_the_limit_alone() -> None:
    """The probe of a lane that stood waited behind the Retry-After of the app lane, up to --max-wait."""
    stamps: list[float] = []
    waits: list[float] = []

    async def lane(pacer: Pacer, loop: VirtualLoop) -> None:
        while True:
            (await pacer.acquire()).written()
            stamps.append(loop.time())

    async def body(loop: VirtualLoop) -> None:
        pacer = Pacer(10)
        busy = [asyncio.create_task(lane(pacer, loop)) for _ in range(3)]
        await asyncio.sleep(3)
        for number in range(20):
            if number == 10:
                pacer.pause_until(loop.time() + 44)
            asked = loop.time()
            permit = await pacer.acquire_urgent()
            waits.append(loop.time() - asked)
            await asyncio.sleep(0.03 * (number % 3))
            permit.written()
            stamps.append(loop.time())
            await asyncio.sleep(0.4)
        await asyncio.sleep(5)
        for task in busy:
            task.cancel()

    run_virtual(body)
    assert max(waits) <= 1.1
    assert most_in_any(1.0, stamps) <= 10


def test_an_urgent_permit_respects_an_operator() -> None:
    async def body(loop: VirtualLoop) -> None:
        pacer = Pacer(10)
        await pacer.pause()
        asking = asyncio.create_task(pacer.acquire_urgent())
        await asyncio.sleep(30)
        assert not asking.done()
        await pacer.resume()
        await asyncio.sleep(1)
        assert asking.done()

    run_virtual(body)


