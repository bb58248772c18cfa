"""`expires_at` holds at the write, wherever the job waited until then."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sender.transport import Reply, TransportFault
from tests.engine.world import OK, World, give, make_lane, work_off
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop


AT = 1_800_000_000 + 1000.0
"""What the wall clock says when the world begins."""


def expire(world: World, seconds: float, *, rate: float = 100, pause: float = 0, count: int = 1, **policy: Any) -> None:
    """Jobs that expire so many seconds after the beginning, in a lane that is paused at first."""

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, rate, **policy)
        give(lane, count, expires_at=AT + seconds)
        if pause:
            loop.call_later(0.001, lane.pacer.pause_until, loop.time() + pause)
        await work_off(lane)

    run_virtual(body)
    states = Counter(row.state for row in world.ledger._rows.values())
    assert states["handed_over"] == 0, "the hand-over was released"


def ends(world: World) -> list[tuple[str, str | None, int]]:
    return [
        (one.outcome.status, one.outcome.problems[0].code if one.outcome.problems else None, one.outcome.attempts)
        for one in world.ended
    ]


def test_a_job_whose_time_passes_while_it_waits_for_its_permit() -> None:
    """3 jobs were handed over in time, waited for a Retry-After, and were written 10 s late."""
    world = World(lambda number, now: (0.02, OK))
    expire(world, 1, pause=10, count=4)
    assert world.written == [1000.0]
    assert ends(world) == [("sent", None, 1)] + [("invalid", "expired", 0)] * 3


def test_a_job_whose_time_passes_while_it_connects() -> None:
    world = World(lambda number, now: (0.02, OK), connecting=2.0)
    expire(world, 1)
    assert world.written == []
    assert ends(world) == [("invalid", "expired", 0)]


def test_a_job_whose_time_passes_while_it_waits_for_its_retry() -> None:
    world = World(lambda number, now: (0.02, Reply(503, "", b"", "5")))
    expire(world, 3)
    assert len(world.written) == 1
    assert ends(world) == [("invalid", "expired", 1)]
    assert "no try before was accepted" in world.ended[0].outcome.problems[0].message


def test_a_try_that_may_have_been_accepted_is_not_forgotten_when_the_time_is_over() -> None:
    world = World(lambda number, now: (2.0, TransportFault("timeout", "written", "m")))
    expire(world, 1, in_doubt="resend")
    assert len(world.written) == 1
    assert ends(world) == [("in_doubt", "expired", 1)]
    assert [row.state for row in world.ledger._rows.values()] == ["in_doubt"]


def test_nor_when_the_tries_after_it_surely_were_not() -> None:
    """`failed` says that the job was surely not accepted."""
    refused = TransportFault("connect_failed", "unwritten", "m")
    world = World(
        lambda number, now: (0.1, TransportFault("timeout", "written", "m") if number == 0 else refused),
    )
    expire(world, 10**6, in_doubt="resend", max_attempts=3)
    assert ends(world) == [("in_doubt", "connect_failed", 3)]


def test_a_job_that_is_in_time_is_written() -> None:
    world = World(lambda number, now: (0.02, OK), connecting=2.0)
    expire(world, 3)
    assert ends(world) == [("sent", None, 1)]


def test_what_was_not_written_takes_nothing_of_the_limit() -> None:
    world = World(lambda number, now: (0.02, OK), connecting=0.5)

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, 10)
        give(lane, 10, expires_at=AT + 0.1)
        await work_off(lane)
        assert lane.pacer.requests == 0
        assert lane.pacer.next_at(loop.time()) <= loop.time() + 0.11

    run_virtual(body)
    assert ends(world) == [("invalid", "expired", 0)] * 10
