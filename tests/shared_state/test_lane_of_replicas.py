"""The lane as it is, on a shared pacer and ledger: two replicas in one process, one limit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sender.engine.job_queue import JobQueue
from sender.engine.lane import Lane
from sender.engine.lane_context import LaneContext, Policy
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.shared_state.state_url import open_state
from tests.engine.world import OK, World, body_of, work_off
from tests.support.replica import declare
from tests.support.virtual_time import most_in_any

if TYPE_CHECKING:
    from sender.engine.pacing.pace import Pace
    from sender.engine.pacing.pacer import Pacer
    from sender.shared_state.shared_pacer import SharedPacer
    from sender.shared_state.shared_state import SharedState
    from tests.support.state_servers import StateServer


def is_a_pace(pacer: SharedPacer, alone: Pacer) -> tuple[Pace, Pace]:
    """Checked by mypy."""
    return pacer, alone


def shared_lane(state: SharedState, name: str, count: int) -> tuple[World, Lane]:
    world = World(lambda number, now: (0.02, OK), ledger=state.ledger)  # type: ignore[arg-type]
    queue = JobQueue(10**6, 10**9)
    context = LaneContext(world, state.ledger, Policy(), world)
    pacer = state.pacer("send", 100, demand=lambda: queue.startable)
    lane = Lane("send", context, pacer, queue)
    for number in range(count):
        key = body_of(f"{name}-{number}").decode()
        lane.accept(Job(key, key, "c", KINDS["email"], "/v1/send/email", key.encode(), "f", number))
    return world, lane


async def test_two_lanes_send_everything_once_within_one_limit(state_server: StateServer) -> None:
    async with AsyncExitStack() as stack:
        await declare(state_server, "send", 100)
        made = []
        for name in "ab":
            state = await open_state(state_server.url, host="api")
            stack.push_async_callback(state.close)
            made.append(shared_lane(state, name, 130))
        await asyncio.gather(*(work_off(lane) for _, lane in made))
        assert [world.left for world, _ in made] == [0, 0]
        await asyncio.sleep(0.2)
        assert [world.statuses() for world, _ in made] == [{"sent": 130}, {"sent": 130}]
        written = [stamp for world, _ in made for stamp in world.written]
        assert most_in_any(1.0, written) <= 100
        assert len({body for world, _ in made for body in world.bodies}) == 260
        assert await state.ledger.count() == {"sent": 260}


async def test_a_server_that_goes_away_stops_the_lane_and_loses_nothing(state_server: StateServer) -> None:
    async with AsyncExitStack() as stack:
        await declare(state_server, "send", 100)
        state = await open_state(state_server.url, host="api")
        stack.push_async_callback(state.close)
        world, lane = shared_lane(state, "c", 150)
        running = asyncio.create_task(work_off(lane))
        async with asyncio.timeout(20):
            while len(world.written) < 50:
                await asyncio.sleep(0.01)
        state_server.kill()
        await asyncio.sleep(0.8)
        before = len(world.written)
        await asyncio.sleep(0.5)
        assert len(world.written) == before, "what was reserved and handed over has left, nothing more"
        state_server.start()
        async with asyncio.timeout(30):
            await running
            assert world.left == 0
        assert most_in_any(1.0, world.written) <= 100
        assert len(set(world.bodies)) == len(world.bodies) == 150
