"""What is about one job, and what is about its kind."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.engine.forbidden_jobs import REFUSALS_OF_A_KIND
from sender.engine.kind_gate import SAME_IN_A_ROW, KindGate, person_of
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.transport import Reply
from tests.engine.world import OK, World, body_of, make_lane, run
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop



def said(status: int, text: str) -> Reply:
    return Reply(status, "application/json", json.dumps({"meta": {"error": text}}).encode())


FORBIDDEN = said(403, "not this one")
UNPAID = said(402, "payment required")


def world_of(*numbers: int, answer: Reply = FORBIDDEN, service: float = 0.02) -> World:
    """An API that gives this answer to these jobs."""
    bad = {body_of(number) for number in numbers}
    world = World(lambda number, now: (service, answer if world.bodies[number] in bad else OK))
    return world


def rejected(world: World) -> set[str | None]:
    return {one.outcome.id for one in world.ended if one.outcome.status == "rejected"}


def closed(world: World) -> dict[str, str]:
    assert world.lane is not None
    return world.lane._context.kinds.closed


@pytest.mark.parametrize("number", [0, 20, 49])
@pytest.mark.parametrize("service", [0.02, 0.7])
def test_a_403_about_one_job_is_that_jobs_end(number: int, service: float) -> None:
    """48 requests, no outcome, exit 3."""
    world = world_of(number, service=service)
    assert run(world, 50) == 0
    assert rejected(world) == {str(number)}
    (outcome,) = [one.outcome for one in world.ended if one.outcome.status == "rejected"]
    assert (outcome.http_status, outcome.attempts) == (403, 1)
    assert outcome.problems[0].message == "the API answered 403: not this one"
    assert world.statuses() == {"rejected": 1, "sent": 49}
    assert len(world.bodies) == 50
    assert closed(world) == {}


def test_a_kind_that_is_not_allowed_is_closed_and_its_jobs_go_back() -> None:
    world = World(lambda number, now: (0.02, FORBIDDEN))
    assert run(world, 100) == 100
    assert world.ended == []
    assert len(world.bodies) <= REFUSALS_OF_A_KIND + 5
    assert closed(world) == {"email": "the API answered 403: not this one"}
    states = Counter(row.state for row in world.ledger._rows.values())
    assert states["handed_over"] == 0


def test_a_right_that_is_taken_away_in_the_middle_rejects_nobody() -> None:
    world = World(lambda number, now: (0.02 + 0.3 * (number % 2), OK if now < 0.5 else FORBIDDEN))
    left = run(world, 200)
    assert world.statuses() == {"sent": 200 - left}
    assert set(closed(world)) == {"email"}


def test_few_jobs_of_a_kind_that_never_passes_go_back() -> None:
    """Nobody knows whether they or the kind were meant: they are left to the next run, and the reason is told."""
    world = World(lambda number, now: (0.02, FORBIDDEN))
    assert run(world, 2) == 2
    assert len(world.bodies) == 2
    assert set(closed(world)) == {"email"}


def slowly(world: World, count: int, every: float = 20, **policy: Any) -> None:
    """One job in so many seconds on an open stream."""

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, **policy)
        running = asyncio.create_task(lane.run())
        for number in range(count):
            key = body_of(number).decode()
            lane.accept(Job(str(number), key, "c", KINDS["email"], "/v1/send/email", key.encode(), "f", number))
            await asyncio.sleep(every)
        await lane.drained()
        lane.stop()
        await running

    run_virtual(body)


@pytest.mark.parametrize("bad", [(0,), (3,), (7,), (2, 5), (0, 1)])
@pytest.mark.parametrize("every", [20, 3600])
def test_on_a_slow_stream_as_well(bad: tuple[int, ...], every: float) -> None:
    """The same job was tried three times in a row, and closed its kind."""
    world = world_of(*bad)
    slowly(world, 8, every)
    assert rejected(world) == {str(number) for number in bad}
    assert world.statuses()["sent"] == 8 - len(bad)
    assert len(world.bodies) == 8
    assert closed(world) == {}


def test_nobody_waits_for_ever_for_other_jobs() -> None:
    """Whoever sends one job after another, each when the one before has ended, would never come to the second."""
    world = World(lambda number, now: (0.02, FORBIDDEN))
    slowly(world, 8, 60)
    assert rejected(world) == {"0", "1"}
    assert world.left == 6
    assert len(world.bodies) == REFUSALS_OF_A_KIND
    assert set(closed(world)) == {"email"}


def test_a_stop_leaves_the_undecided_to_the_next_run() -> None:
    world = world_of(0)

    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world)
        lane.accept(Job("0", body_of(0).decode(), "c", KINDS["email"], "/v1/send/email", body_of(0), "f", 0))
        loop.call_later(1, lane.stop)
        await lane.run()

    run_virtual(body)
    assert (world.left, world.ended) == (1, [])
    assert not world.ledger._rows


def test_a_status_that_everybody_gets_halts_the_kind() -> None:
    """402 for every job finished the whole pile as rejected."""
    world = World(lambda number, now: (0.05, UNPAID))
    left = run(world, 1000)
    assert world.statuses() == {"rejected": SAME_IN_A_ROW}
    assert left == 1000 - SAME_IN_A_ROW
    assert len(world.bodies) < SAME_IN_A_ROW + 20
    assert closed(world) == {"email": "the API answered 402: payment required, to 20 jobs in a row"}


@pytest.mark.parametrize("answer", [Reply(status, "application/json", b'{"ok":true}') for status in (200, 202)])
def test_an_acceptance_without_an_id_for_everybody_halts_the_kind(answer: Reply) -> None:
    """Whatever answered was no such API, and the whole pile ended in doubt."""
    world = World(lambda number, now: (0.05, answer))
    left = run(world, 1000)
    assert SAME_IN_A_ROW <= world.statuses()["in_doubt"] < SAME_IN_A_ROW + 20
    assert left + len(world.ended) == 1000
    assert set(closed(world)) == {"email"}


@pytest.mark.parametrize("seed", range(5))
def test_many_forbidden_jobs_among_others_end_alone(seed: int) -> None:
    """Three in a row by chance closed the kind, though the API took the others."""
    bad = set(random.Random(seed).sample(range(300), 90))
    world = world_of(*bad)
    assert run(world, 300) == 0
    assert rejected(world) == {str(number) for number in bad}
    assert world.statuses()["sent"] == 210
    assert closed(world) == {}


def test_but_not_while_some_pass() -> None:
    world = World(lambda number, now: (0.05, OK if number % 19 == 0 else UNPAID))
    assert run(world, 1000) == 0
    assert closed(world) == {}
    assert world.statuses()["rejected"] > 900


def test_nor_when_all_are_for_one_person() -> None:
    gate = KindGate()
    for _ in range(100):
        gate.refused("email", 400, "ada", "no")
    assert not gate.closed
    for number in range(SAME_IN_A_ROW - 1):
        gate.refused("email", 422 if number == 5 else 400, str(number), "no")
    assert not gate.closed
    for number in range(SAME_IN_A_ROW):
        gate.refused("email", 400, str(number), "no")
    assert gate.closed
    assert gate.was_closed_by("email", 400)
    assert not gate.was_closed_by("email", 422)
    assert not gate.was_closed_by("push", 400)


def test_an_api_that_answers_500_to_every_job_halts_the_kind() -> None:
    """Its probes are answered, and so it is no outage; each trial would leave one more job in doubt, for ever."""
    world = World(lambda number, now: (0.05, said(500, "internal")))
    left = run(world, 500)
    assert world.halts == []
    assert closed(world)["email"].startswith("the API answered 500: internal, to 20")
    assert left + len(world.ended) == 500
    assert world.statuses()["in_doubt"] < SAME_IN_A_ROW + 20


def test_but_who_waits_for_ever_waits_for_that() -> None:
    world = World(lambda number, now: (0.05, said(500, "internal") if now < 7200 else OK))
    assert run(world, 500, max_outage=float("inf")) == 0
    assert closed(world) == {}
    assert world.statuses()["sent"] > 300


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("email", {"identifiers": {"id": "7"}, "to": "a"}, "{'id': '7'}"),
        ("email", {"to": "a@example.com"}, "'a@example.com'"),
        ("email", {}, "key"),
        ("email", [], "key"),
        ("content", {"to": "a"}, "key"),
    ],
)
def test_for_whom_a_job_is(kind: str, payload: Any, expected: str) -> None:
    assert person_of(Job("i", "key", "c", KINDS[kind], "/p", json.dumps(payload).encode(), "f", 1)) == expected


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60), share=st.floats(0, 1))
def test_each_job_ends_once_or_goes_back(seed: int, count: int, share: float) -> None:
    """However refusals and acceptances are mixed, and in whatever order they come back."""
    chance = random.Random(seed)
    refused = (FORBIDDEN, UNPAID)
    answers = {body_of(n): chance.choice(refused) if chance.random() < share else OK for n in range(count)}
    world = World(lambda number, now: (chance.uniform(0.01, 1), answers[world.bodies[number]]))
    left = run(world, count)
    assert len(world.ended) + left == count
    assert max(Counter(world.bodies).values()) == 1
    assert {one.outcome.id for one in world.ended} <= {str(number) for number in range(count)}
    assert left == 0 or closed(world)
    states = Counter(row.state for row in world.ledger._rows.values())
    assert states["handed_over"] == 0


def test_one_job_of_a_closed_kind_is_let_through_and_an_accepted_one_opens_it() -> None:
    opened: list[str] = []
    gate = KindGate(on_open=opened.append)
    gate.close("sms", 403, "forbidden")
    assert not gate.may_start("sms")
    gate.accepted("sms")
    assert gate.closed, "one that was under way when it was closed says nothing"
    gate.let_one_through()
    assert gate.shut == {}
    assert gate.closed == {"sms": "forbidden"}, "it is told as before"
    assert gate.may_start("sms")
    assert not gate.may_start("sms"), "one"
    assert gate.shut == gate.closed
    assert gate.was_closed_by("sms", 403), "the one that is refused as well is not at fault"
    gate.accepted("sms")
    assert gate.may_start("sms")
    assert gate.may_start("sms")
    assert opened == ["sms"]
