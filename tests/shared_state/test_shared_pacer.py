"""Several pacers in several processes on one server: the ceiling strictly, the rate loosely (tests do not depend on
speed; `benchmarks/shared_limit.py` measures)."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.engine.pacing.guard import Guard
from sender.shared_state.state_url import open_state
from tests.support.replica import declare, results, start_replicas
from tests.support.virtual_time import most_in_any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sender.shared_state.shared_pacer import SharedPacer
    from sender.shared_state.shared_state import SharedState
    from tests.support.state_servers import StateServer


def merged(figures: list[dict[str, Any]]) -> list[float]:
    return sorted(stamp for one in figures for stamp in one["stamps"])


def rate_of(stamps: list[float]) -> float:
    return (len(stamps) - 1) / (stamps[-1] - stamps[0])


@pytest.fixture
async def state(state_server: StateServer) -> AsyncIterator[SharedState]:
    opened = await open_state(state_server.url, host="api")
    yield opened
    await opened.close()


@pytest.fixture
async def used(state: SharedState, state_server: StateServer) -> SharedState:
    """A state whose lane was in use long enough; a new one makes every lane wait for a window."""
    await declare(state_server, "send", 100)
    return state


async def write(pacer: SharedPacer, stamps: list[float], count: int) -> None:
    for _ in range(count):
        permit = await pacer.acquire()
        permit.written()
        stamps.append(asyncio.get_running_loop().time())


async def set_rate(state: SharedState, lane: str, rate: int) -> None:
    """As another replica does on an operator's word."""
    await state._server.lanes.ask(lane, "rate", rate, 1_000_000)


def test_four_processes_hold_one_limit_and_share_it(state_server: StateServer) -> None:
    figures = results(start_replicas(state_server, *[{"seconds": 3}] * 4))
    stamps = merged(figures)
    assert most_in_any(1.0, stamps) <= 100
    assert rate_of(stamps) > 40, "not a part each, whatever the machine has to do beside"
    assert min(len(one["stamps"]) for one in figures) > 0
    assert sum(one["calls"] for one in figures) / len(stamps) < 1


def test_writes_that_come_late_do_not_break_the_ceiling(state_server: StateServer) -> None:
    figures = results(start_replicas(state_server, *[{"seconds": 3, "slow": 0.1}] * 3))
    assert most_in_any(1.0, merged(figures)) <= 100


def test_ceiling_through_a_pause_of_the_server(state_server: StateServer) -> None:
    processes = start_replicas(state_server, *[{"seconds": 4}] * 3)
    time.sleep(1)
    state_server.stall(1.2)
    stamps = merged(results(processes))
    assert most_in_any(1.0, stamps) <= 100
    assert max(later - earlier for earlier, later in pairwise(stamps)) > 0.5, "it was paused"
    assert stamps[-1] - stamps[0] > 3, "they came back"


def test_ceiling_through_a_kill_and_restart_of_the_server(state_server: StateServer) -> None:
    processes = start_replicas(state_server, *[{"seconds": 11}] * 3)
    time.sleep(1)
    state_server.kill()
    time.sleep(0.2)
    state_server.start()
    stamps = merged(results(processes))
    assert most_in_any(1.0, stamps) <= 100
    assert max(later - earlier for earlier, later in pairwise(stamps)) > 1.0, "one window"
    assert stamps[-1] - stamps[0] > 3, "they came back"


def test_a_divided_lane_goes_on_through_a_pause_of_the_server_and_a_death(state_server: StateServer) -> None:
    """A pause of two seconds stopped all replicas for as long."""
    processes = start_replicas(state_server, *[{"seconds": 11}] * 2, {"seconds": 6.5})
    time.sleep(7.5)
    state_server.stall(2)
    stamps = merged(results(processes))
    assert most_in_any(1.0, stamps) <= 100
    divided = [stamp for stamp in stamps if stamp > stamps[0] + 7]
    assert max(later - earlier for earlier, later in pairwise(divided)) < 1.0, "it went on"


def test_a_slow_lane_is_shared_and_its_permits_go_round(state_server: StateServer) -> None:
    figures = results(start_replicas(state_server, *[{"rate": 0.8, "lane": "trigger", "seconds": 6}] * 2))
    stamps = merged(figures)
    assert most_in_any(1.25, stamps) == 1
    assert len(stamps) >= 3
    assert min(len(one["stamps"]) for one in figures) >= 1


def test_high_does_not_wait_behind_a_backlog_and_low_keeps_its_part(state_server: StateServer) -> None:
    processes = start_replicas(
        state_server,
        *[{"seconds": 3, "rank": 2}] * 2,
        {"seconds": 3, "rank": 0, "every": 0.1},
    )
    low, also_low, high = results(processes)
    waits = sorted(high["waits"])
    assert waits[len(waits) // 2] < 1.5
    assert len(low["stamps"]) + len(also_low["stamps"]) > 80


def test_under_a_flood_of_high_low_keeps_five_in_a_hundred(state_server: StateServer) -> None:
    processes = start_replicas(
        state_server,
        *[{"seconds": 12, "rank": 0}] * 2,
        {"seconds": 12, "rank": 2},
    )
    *high, low = results(processes)
    stamps = merged([*high, low])
    later = [stamp for stamp in low["stamps"] if stamp > stamps[0] + 1]  # what came first had no rival yet
    assert 0.03 < len(later) / len([stamp for stamp in stamps if stamp > stamps[0] + 1]) < 0.15
    assert most_in_any(1.0, stamps) <= 100


async def test_a_new_state_waits_one_window(state: SharedState) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await state.pacer("send", 100).acquire()
    assert loop.time() - begin > 1.5


async def test_few_jobs_cost_few_slots(used: SharedState, state_server: StateServer) -> None:
    waiting = 3
    pacer = used.pacer("send", 100, demand=lambda: (0, waiting, 0))
    stamps: list[float] = []
    for _ in range(3):
        permit = await pacer.acquire()
        permit.written()
        waiting -= 1
        stamps.append(asyncio.get_running_loop().time())
    await asyncio.sleep(0.3)
    assert not pacer._slots._slots
    assert pacer.given_up <= 3
    assert (pacer.requests, pacer.rate, pacer.window) == (3, 100.0, 1.0)
    assert pacer.first_written is not None
    assert pacer.last_written is not None
    assert pacer.most_in_window <= 3


async def test_a_cancelled_wait_takes_nothing_and_leaves_the_gate_open(state: SharedState) -> None:
    pacer = state.pacer("send", 100)
    waiting = asyncio.create_task(pacer.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(20):
        permit = await pacer.acquire()
    permit.cancel()
    permit.written()
    assert pacer.requests == 0


async def test_a_pause_holds_for_all_replicas(used: SharedState, state_server: StateServer) -> None:
    loop = asyncio.get_running_loop()
    other_state = await open_state(state_server.url, host="api")
    try:
        one, other = used.pacer("send", 100), other_state.pacer("send", 100)
        await asyncio.gather(one.acquire(), other.acquire())
        end = loop.time() + 1.7
        one.pause_until(end)
        assert one.paused_until == end
        assert one.next_at(loop.time()) >= end
        await asyncio.sleep(1.0)
        await other.acquire()
        assert loop.time() > end - 0.1
        assert abs(other.paused_until - end) < 0.2
    finally:
        await other_state.close()


async def test_operators_pause_resume_and_change_the_rate(used: SharedState) -> None:
    pacer = used.pacer("send", 100, demand=lambda: (0, 5, 0))
    await pacer.acquire()
    await pacer.pause()
    await asyncio.sleep(0.8)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await pacer.acquire()
    assert pacer.paused
    await pacer.resume()
    async with asyncio.timeout(20):
        await pacer.acquire()
    await set_rate(used, "send", 10)
    stamps: list[float] = []
    await asyncio.sleep(1.0)
    await write(pacer, stamps, 12)
    assert pacer.rate == 10
    assert most_in_any(1.0, stamps) <= 10


async def test_a_replica_configured_otherwise_changes_the_rate_and_a_restart_keeps_it(
    used: SharedState, state_server: StateServer
) -> None:
    await used.pacer("send", 100).acquire()
    await set_rate(used, "send", 50)
    again = used.pacer("send", 100)
    await again.acquire()
    assert again.rate == 50, "the configuration is the same: what an operator said still holds"
    other = used.pacer("send", 20)
    await other.acquire()
    assert other.rate == 20


async def test_a_lost_state_stops_the_lane_until_it_is_joined_anew(
    used: SharedState, state_server: StateServer
) -> None:
    loop = asyncio.get_running_loop()
    pacer = used.pacer("send", 100)
    await pacer.acquire()
    state_server.lose_all()
    lost = loop.time()
    await asyncio.sleep(0.7)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await pacer.acquire()
    await used.rejoin()
    async with asyncio.timeout(20):
        await pacer.acquire()
    assert loop.time() - lost > 1.6, "one full window after the state began anew"


async def test_a_server_clock_that_jumps_makes_the_lane_wait(used: SharedState) -> None:
    pacer = used.pacer("send", 100)
    await pacer.acquire()
    pacer._slots.clock._least += 3600
    pacer._slots.clock._most += 3600
    pacer._slots.drop()
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        begin = loop.time()
        async with asyncio.timeout(20):
            await pacer.acquire()
    assert loop.time() - begin > 1.0
    assert "a clock has jumped: the lane waits a window" in [log["event"] for log in logs]


async def test_a_server_clock_that_was_set_back_holds_nobody_up(used: SharedState, state_server: StateServer) -> None:
    pacer = used.pacer("send", 100)
    await pacer.acquire()
    state_server.set_last_slot("send", time.time() + 3600)
    stamps: list[float] = []
    async with asyncio.timeout(20):
        await write(pacer, stamps, 60)
    assert most_in_any(1.0, stamps) <= 100


async def test_the_most_careful_guard_counts_for_all(used: SharedState, state_server: StateServer) -> None:
    guard = Guard()
    guard.share = 0.5
    careful, other = used.pacer("send", 100, guard=guard), used.pacer("send", 100)
    await asyncio.gather(careful.acquire(), other.acquire())
    stamps: list[float] = []
    await write(other, stamps, 30)
    await careful.acquire()
    await write(other, stamps, 30)
    assert rate_of(stamps) < 75


async def test_without_a_server_next_at_is_later(used: SharedState, state_server: StateServer) -> None:
    loop = asyncio.get_running_loop()
    pacer = used.pacer("send", 100)
    await pacer.acquire()
    state_server.kill()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                while True:
                    (await pacer.acquire()).written()
        assert not used.reachable
        now = loop.time()
        assert pacer.next_at(now) > now + 0.05, "no job is handed over for a permit that cannot come"
    finally:
        state_server.start()
    async with asyncio.timeout(20):
        await pacer.acquire()
    assert used.reachable


async def test_an_urgent_permit_passes_a_pause_and_keeps_the_ceiling(
    state: SharedState, state_server: StateServer
) -> None:
    """The probe of a lane that stood waited behind the Retry-After that another replica's app lane was told."""
    await declare(state_server, "app", 10)
    other = await open_state(state_server.url, host="api")
    pacers, stamps = [one.pacer("app", 10) for one in (state, other)], []

    async def urgent(pacer: SharedPacer) -> None:
        for _ in range(12):
            permit = await pacer.acquire_urgent()
            permit.written()
            stamps.append(asyncio.get_running_loop().time())

    async with asyncio.timeout(20):
        await asyncio.gather(*(write(pacer, stamps, 3) for pacer in pacers))
        pacers[0].pause_until(asyncio.get_running_loop().time() + 600)
        await asyncio.sleep(1)  # slots that were reserved before are over
        waiting = [asyncio.create_task(write(pacer, [], 1)) for pacer in pacers]
        await asyncio.gather(*map(urgent, pacers))
    assert len(stamps) == 30
    assert most_in_any(1.0, sorted(stamps)) <= 10
    assert not any(task.done() for task in waiting), "jobs wait out the pause"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await other.close()
