"""Whatever happens to jobs in doubt: no delivery becomes two jobs', and no job that was accepted is called absent."""

from __future__ import annotations

import json
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sender.config.settings import DEFAULTS
from sender.doubts.doubted_attempts import DoubtedAttempts
from sender.doubts.doubts import Doubts
from sender.engine.api_clock import ApiClock
from sender.engine.api_reader import ApiReader
from sender.engine.job_execution import JobExecution
from sender.errors import UsageError
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.outcomes.recorder import FinishedJob
from sender.reconcile.by_hand import close
from sender.transport import Reply, Request
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import run_virtual

NOW = 1_800_000_000.0
LAG = 60.0
VISIBLE = 30.0
PERSON, SOMEBODY = "7", "8"
PROOF = 9
"""The number of the job to somebody else that is sent at each history's end."""


class Unpaced:
    """Reading takes no time: at great instants the virtual clock cannot tell a pacer's small steps apart."""

    rate = 10.0

    async def acquire(self) -> Any:
        return SimpleNamespace(written=lambda: None, cancel=lambda: None)


UNPACED: Any = Unpaced()


class World:
    """The API with its own clock, a machine whose clock may be set, and what was truly accepted."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.ours = 0.0
        """Seconds by which the machine's clock is ahead of the API's."""
        self.deliveries: list[dict[str, Any]] = []
        self.makers: dict[str, str | None] = {}
        """The job that made each delivery; None for another sender."""
        self.owners: dict[str, set[str]] = {}
        """The jobs that each delivery was told to be of."""
        self.ledger = MemoryLedger()
        self.ended: list[FinishedJob] = []
        self.boot()

    def boot(self) -> None:
        """A process starts, and asks the API once."""
        self.clock = ApiClock(lambda: self.api_now() + self.ours)
        self.clock.observe(self.date())
        self.reader = ApiReader(self, UNPACED, self.clock)
        self.reader.alone = True
        triggers = SimpleNamespace(waiting=0, look=self.nothing)
        workspace: Any = SimpleNamespace(clock=self.clock, reader=self.reader, triggers=triggers, settings=DEFAULTS)
        recorder: Any = SimpleNamespace(put=self.ended.append, replay=self.nothing)
        self.doubts = Doubts(workspace, self.ledger, recorder)

    async def nothing(self) -> None:
        """There are neither broadcasts nor an outcome log."""

    def api_now(self) -> float:
        return NOW + self.loop.time() - 1000

    def date(self) -> str:
        return formatdate(self.api_now(), usegmt=True)

    def wait(self, seconds: float) -> None:
        self.loop.stall(seconds)

    def accept(self, person: str, maker: str | None) -> str:
        name = f"d{len(self.deliveries)}"
        self.deliveries.append({
            "id": name, "type": "email", "recipient": "ada@example.com", "subject": "s", "created": int(self.api_now()),
            "transactional_message_id": 3, "customer_identifiers": {"id": person},
        })
        self.makers[name] = maker
        return name

    async def send(self, request: Request, wire: Any = None) -> Reply:
        wire.on_written()
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query))
        shown = [one for one in self.deliveries if one["created"] + VISIBLE <= self.api_now()]
        parts = url.path.split("/")
        status, document = 200, {}
        if parts[2] == "messages":
            found = [one for one in shown if one["id"] == parts[3]]
            status, document = (200, {"message": found[0]}) if found else (404, {})
        else:
            within = [one for one in shown if int(query["start_ts"]) <= one["created"] <= int(query["end_ts"])]
            mine = [one for one in within if parts[2] != "customers" or one["customer_identifiers"]["id"] == parts[3]]
            document = {"messages": mine, "next": ""}
        return Reply(status, "application/json", json.dumps(document).encode(), date=self.date())

    async def warm(self, connections: int) -> int:
        return 0

    async def aclose(self) -> None: ...

    async def flush(self) -> None:
        """The recorder's work."""
        for one in self.ended:
            assert one.entry is not None
            if one.entry.result is not None:
                self.owners.setdefault(one.entry.result, set()).add(one.entry.key)
                assert self.makers[one.entry.result] in (one.entry.key, None), "a job got what another has made"
            if one.outcome.problems and one.outcome.problems[0].code == "absent":
                assert one.entry.key not in self.makers.values(), "an accepted job was called absent"
        await self.ledger.finish([one.entry for one in self.ended if one.entry is not None])
        self.ended.clear()
        assert all(len(jobs) == 1 for jobs in self.owners.values()), self.owners


def person_of(number: int) -> str:
    return SOMEBODY if number == PROOF else PERSON


def job(number: int) -> Job:
    body = {"to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": person_of(number)}}
    raw = json.dumps(body).encode()
    return Job(f"job-{number}", f"k{number}", "c", KINDS["email"], "/v1/send/email", raw, "f", number)


async def attempt(world: World, number: int, end: str, accepted: bool, step: float) -> None:
    """One job is tried, a retry of a job in doubt included, unless it is sent."""
    standing = (await world.ledger.find([f"k{number}"])).get(f"k{number}")
    if standing is not None and standing.state in ("sent", "handed_over"):
        return
    execution = JobExecution(job(number), doubted=world.doubts.was_in_doubt(f"k{number}"))
    wall = world.clock.wall
    await world.ledger.hand_over([execution.claim(wall(), world.clock.marks())])
    execution.begin(wall(), world.clock.steps)
    world.wait(0.2)
    made = world.accept(person_of(number), execution.job.key) if accepted or end == "answered" else None
    world.ours += step
    world.wait(0.7)
    if end == "killed":
        world.ledger = world.ledger.next_run()
        world.boot()
        await world.doubts.open()
        return
    if end == "answered":
        world.clock.observe(world.date())
        facts = (("delivery_id", made), ("queued_at", int(world.api_now())))
        outcome = execution.outcome("sent", result=facts, finished_at=wall())
    else:
        execution.doubt()
        outcome = execution.outcome("in_doubt", finished_at=wall())
    marks = world.clock.marks_since(execution.clock_steps)
    world.ended.append(FinishedJob(outcome, execution.entry(outcome, marks=marks)))
    await world.flush()
    world.doubts.note_end(execution, outcome, resendable=True)


async def by_hand(world: World, number: int, status: str, told: bool) -> None:
    """Somebody closes a job, maybe wrongly; where the delivery is told it is the right one."""
    made = [name for name, maker in world.makers.items() if maker == f"k{number}"]
    name = f"job-{number}={made[-1]}" if told and made and status == "sent" else f"job-{number}"
    await world.doubts.save()
    doubted = DoubtedAttempts(world.ledger, world.clock, LAG)
    try:
        changed, ended = await close(world.ledger, world.clock, doubted, status, [name])
    except UsageError:
        return
    for one in changed:
        for delivery in dict(one.result).values():
            world.owners.setdefault(delivery, set()).add(f"k{number}")
    world.ended += ended
    await world.flush()


async def restart(world: World) -> None:
    await world.doubts.save()
    world.ledger = world.ledger.next_run()
    world.boot()
    await world.doubts.open()


async def resolve(world: World, beside: bool) -> None:
    await (world.doubts.resolve_ripe() if beside else world.doubts.resolve())
    await world.flush()


numbers = st.integers(0, 2)
steps = st.sampled_from([-600.0, 600.0, 130.0, -86400.0])
seldom = st.sampled_from([0.0] * 20 + [-600.0, 600.0, 130.0, -86400.0])
lost = st.tuples(
    st.just(attempt), numbers, st.sampled_from(["lost", "lost", "lost", "killed"]), st.booleans(), seldom
)
EVENTS = st.one_of(
    lost,
    lost,
    st.tuples(st.just(attempt), numbers, st.just("answered"), st.just(True), seldom),
    st.tuples(st.just(by_hand), numbers, st.sampled_from(["sent", "sent", "failed"]), st.booleans()),
    st.tuples(st.just(resolve), st.booleans()),
    st.tuples(st.just(restart)),
    st.tuples(st.just("foreign"), st.sampled_from([PERSON, SOMEBODY])),
    st.tuples(st.just("step"), steps),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 20.0, 100.0, 1000.0, 40000.0])),
)
END = [
    ("wait", 20.0), (attempt, PROOF, "answered", True, 0.0), (resolve, False), ("wait", 200.0), (resolve, False)
]
"""A delivery that is surely later, and two passes over what is in doubt."""


def play(history: list[tuple[Any, ...]]) -> World:
    worlds: list[World] = []

    async def body(loop: Any) -> None:
        world = World(loop)
        worlds.append(world)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sender.engine.api_clock._since_boot", loop.time)
            await world.doubts.open()
            for what, *arguments in history:
                match what:
                    case "foreign":
                        world.accept(arguments[0], None)
                    case "step":
                        world.ours += arguments[0]
                    case "wait":
                        world.wait(arguments[0])
                    case _:
                        await what(world, *arguments)

    run_virtual(body)
    return worlds[0]


X_LOST, Y_LOST = (attempt, 0, "lost", True, 0.0), (attempt, 1, "lost", False, 0.0)


@settings(max_examples=500)
@given(st.lists(EVENTS, min_size=2, max_size=8))
@example([X_LOST, Y_LOST]).via("two in doubt, one delivery")
@example([X_LOST, (by_hand, 0, "sent", False), Y_LOST]).via("closed by hand")
@example([X_LOST, Y_LOST, (by_hand, 0, "failed", False)]).via("closed by hand, wrongly")
@example([X_LOST, (restart,), Y_LOST]).via("over a restart")
@example([X_LOST, (attempt, 0, "answered", True, 0.0), Y_LOST]).via("sent again on somebody's word")
@example([(attempt, 0, "killed", True, 0.0), (attempt, 0, "lost", False, 0.0), Y_LOST]).via("killed, then retried")
@example([X_LOST, ("wait", 1000.0), (attempt, 0, "lost", False, 0.0)]).via("in doubt long ago")
@example([("step", -600.0), X_LOST, ("step", 600.0)]).via("the clock was wrong for a while")
@example([(attempt, 0, "lost", True, 600.0)]).via("the clock was set during the attempt")
@example([X_LOST, ("step", 600.0), (restart,)]).via("the clock was set between two runs")
def test_no_history_of_doubts_makes_a_wrong_claim(history: list[tuple[Any, ...]]) -> None:
    play([*history, *END])


def states(world: World) -> dict[str, str]:
    return {key: row.state for key, row in world.ledger._rows.items()}


def test_the_histories_come_to_something() -> None:
    """Else the property would hold of a program that leaves everything open."""
    world = play([X_LOST, ("wait", 400.0), Y_LOST, *END])
    assert states(world) == {"k0": "sent", "k1": "failed", "k9": "sent"}
    assert world.owners["d0"] == {"k0"}
