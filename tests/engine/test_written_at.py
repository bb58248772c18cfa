"""An outcome tells when its request was written: the last one that was, by the clock that the pacer counts with."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sender.doubts.doubtful_job import DoubtfulJob
from sender.engine.api_clock import ApiClock
from sender.engine.job_execution import JobExecution
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.ledger import Doubt
from sender.transport import TransportFault
from tests.engine.world import OK, World, body_of, give, make_lane, run, work_off
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop

EPOCH = 1_800_000_000
REFUSED = TransportFault("connect_failed", "unwritten", "m")
LATE = TransportFault("timeout", "written", "m")




def stamps(world: World) -> list[float | None]:
    return [ended.outcome.written_at for ended in world.ended]


def test_it_is_the_instant_of_the_write() -> None:
    world = World(lambda number, now: (0.3, OK))
    run(world, 20)
    assert stamps(world) == pytest.approx([EPOCH + at for at in world.written])
    (first, *_) = world.ended
    assert first.outcome.started_at is not None
    assert b'"written_at":"2027-01-15T08:16:40' in first.outcome.to_line()


def test_of_several_attempts_the_last_one_that_was_written_counts() -> None:
    answers = {0: LATE, 1: REFUSED, 2: REFUSED}
    world = World(lambda number, now: (0.1, answers.get(number, OK)))
    run(world, 1, in_doubt="resend")
    assert stamps(world) == [EPOCH + world.written[-1]]
    assert len(world.written) == 2
    bad = World(lambda number, now: (0.1, LATE if number == 0 else REFUSED))
    run(bad, 1, in_doubt="resend", max_attempts=3)
    assert stamps(bad) == [EPOCH + bad.written[0]]


def test_what_was_never_written_has_no_instant() -> None:
    world = World(lambda number, now: (0.1, REFUSED if world.bodies[number] == body_of(3) else OK))
    run(world, 9, max_attempts=2)
    (failed,) = [ended.outcome for ended in world.ended if ended.outcome.status == "failed"]
    assert failed.written_at is None
    assert b"written_at" not in failed.to_line()
    assert b"started_at" in failed.to_line()


def test_an_interrupted_job_tells_it_too() -> None:
    world = World(lambda number, now: (30, OK))

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world)
        give(lane, 3)
        running = asyncio.create_task(lane.run())
        await asyncio.sleep(1)
        lane.stop()
        lane.abort()
        await running
        await asyncio.sleep(0)

    run_virtual(body)
    assert world.statuses() == {"in_doubt": 3}
    assert stamps(world) == [EPOCH + at for at in world.written]


@pytest.mark.parametrize("seed", range(3))
def test_no_second_of_the_log_holds_more_than_the_limit(seed: int) -> None:
    """Counted at their starts there were 102 in a second, though the limit of 100 was never passed."""
    chance = random.Random(seed)
    world = World(lambda number, now: (chance.uniform(0.001, 2), OK))
    run(world, 2000)
    texts = [orjson.loads(ended.outcome.to_line())["written_at"] for ended in world.ended]
    assert max(Counter(text[:19] for text in texts).values()) <= 100


def test_a_step_of_the_wall_clock_moves_later_stamps_only_by_that_step() -> None:
    world = World(lambda number, now: (0.05, OK))

    async def body(loop: VirtualLoop) -> None:
        step_at = loop.time() + 1
        lane = make_lane(world, 10, wall=lambda: EPOCH + loop.time() + (3600 if loop.time() > step_at else 0))
        give(lane, 20)
        await work_off(lane)

    run_virtual(body)
    moved = [round((stamp or 0) - EPOCH - at, 3) for stamp, at in zip(stamps(world), world.written, strict=True)]
    assert set(moved) == {0, 3600}
    assert moved == sorted(moved)


async def test_a_doubt_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    job = Job("1", "k", "c", KINDS["email"], "/v1/send/email", b'{"to":"x"}', "f", 1)
    execution = JobExecution(job, attempts=1, started_at=EPOCH, written_at=EPOCH + 1.5)
    entry = execution.entry(execution.outcome("in_doubt"))
    detail: Any = entry.detail
    settled = DoubtfulJob.of(Doubt("k", "c", "in_doubt", detail, True), ApiClock(lambda: EPOCH + 9)).outcome("sent")
    assert settled.written_at == EPOCH + 1.5
