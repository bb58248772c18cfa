"""Arrivals keep their schedule, and nobody's waiting is left out."""

from __future__ import annotations

import asyncio
import math
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.bench.clock import LoopAlarm, clock, make_alarm
from sender.bench.driver import Driver
from sender.bench.plan import BenchPlan
from sender.bench.request_templates import generated
from sender.bench.schedule import Schedule
from sender.config.api_key import ApiKey
from sender.jobs.kinds import KINDS
from sender.transport import Reply, TransportFault
from tests.engine.world import Sending

if TYPE_CHECKING:
    from sender.bench.measures import Measures
    from sender.transport import OnEnd, Request, UnderWay, Wire
    from tests.support.virtual_time import VirtualLoop

OK = b'{"delivery_id":"x"}'


class Server:
    """Answers after `latency(now)` seconds, as a transport does."""

    def __init__(self, latency=lambda _: 0.01, reply=lambda _: (200, OK)) -> None:
        self.latency = latency
        self.reply = reply
        self.starts: list[float] = []
        self.under_way = self.most = 0

    def start(self, request: Request, wire: Wire, on_end: OnEnd) -> UnderWay:
        return Sending(self.send(request, wire), on_end)

    async def send(self, request: Request, wire: Wire | None = None) -> Reply:
        loop = asyncio.get_running_loop()
        self.starts.append(loop.time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.latency(loop.time()))
        self.under_way -= 1
        found = self.reply(len(self.starts))
        if isinstance(found, TransportFault):
            raise found
        return Reply(found[0], "application/json", found[1])

    async def warm(self, connections: int) -> int:
        return 0

    async def aclose(self) -> None: ...


def make_plan(schedule: Schedule, *, processes: int = 1, concurrency: int = 1000) -> BenchPlan:
    template = generated(KINDS["email"], "00000000")
    return BenchPlan("http://127.0.0.1:1", ApiKey("k"), schedule, (template,), processes, concurrency, 20.0, 10.0)


def drive(virtual: VirtualLoop, plan: BenchPlan, server: Server, index: int = 0) -> Measures:
    async def run() -> Measures:
        driver = Driver(plan, server, LoopAlarm(), virtual.time, index)
        return await driver.run(virtual.time() + 1)

    return virtual.run_until_complete(run())


def test_every_request_starts_at_its_instant(virtual: VirtualLoop) -> None:
    server = Server()
    begin = virtual.time() + 1
    measures = drive(virtual, make_plan(Schedule(100, 5)), server)
    assert server.starts == pytest.approx([begin + n / 100 for n in range(500)])
    assert (measures.started, measures.ok, measures.not_started) == (500, 500, 0)
    assert measures.latency.percentile(99) == pytest.approx(10, rel=0.01)


def test_a_server_that_stands_still_is_charged_for_all_that_was_planned(virtual: VirtualLoop) -> None:
    """Coordinated omission: a closed loop would have seen one slow request."""
    begin = virtual.time() + 1
    server = Server(lambda now: max(0.001, begin + 3 - now) if now >= begin + 2 else 0.001)
    measures = drive(virtual, make_plan(Schedule(100, 5)), server)
    assert measures.started == 500
    assert 0.15 < sum(step.latency_ms.most > 100 for step in measures.series.steps.values()) / 5 < 0.3
    assert measures.latency.percentile(90) == pytest.approx(500, rel=0.1)  # 100 of 500 waited 0 to 1 s
    assert measures.latency.most == pytest.approx(1000, rel=0.02)


def test_hands_are_bounded_and_the_wait_for_one_is_latency(virtual: VirtualLoop) -> None:
    server = Server(lambda _: 0.1)
    measures = drive(virtual, make_plan(Schedule(100, 4), concurrency=5), server)  # it takes 50 a second
    assert server.most == measures.most_in_flight == 5
    assert measures.held_up > 100
    assert measures.started + measures.not_started == 400
    assert measures.not_started == pytest.approx(200, abs=10)
    assert measures.latency.count == 400, "those that never started count too"
    assert measures.service.most == pytest.approx(100, rel=0.01)
    assert measures.latency.most > 1900


def test_warm_up_and_ramp_are_left_out(virtual: VirtualLoop) -> None:
    begin = virtual.time() + 1
    server = Server(lambda now: 0.5 if now < begin + 3 - 1e-6 else 0.01)
    measures = drive(virtual, make_plan(Schedule(100, 2, warm_up=1, ramp=2)), server)
    assert len(server.starts) == 100 + 100 + 200
    assert measures.started == 200
    assert measures.latency.most < 11
    rows = measures.series.rows(3)
    assert [row["measured"] for row in rows] == [False, False, False, True, True]
    assert [row["planned"] for row in rows] == pytest.approx([25, 75, 100, 100, 100], abs=1)


def test_as_fast_as_it_goes(virtual: VirtualLoop) -> None:
    server = Server(lambda _: 0.1)
    measures = drive(virtual, make_plan(Schedule(math.inf, 2), concurrency=8), server)
    assert measures.started == pytest.approx(160, abs=8)
    assert server.most == 8


def test_errors_are_counted_by_status_and_code(virtual: VirtualLoop) -> None:
    replies = [(200, OK), (429, b"{}"), (400, b'{"meta":{"error":"no"}}'), TransportFault("timeout", "written", "late")]
    server = Server(reply=lambda n: replies[n % 4])
    measures = drive(virtual, make_plan(Schedule(100, 1)), server)
    assert measures.ok == measures.http_429 == 25
    assert measures.statuses == {"200": 25, "429": 25, "400": 25, "none": 25}
    assert measures.codes == {"rate_limited": 25, "api_error": 25, "timeout": 25}
    assert measures.answered == 75
    assert measures.latency.count == measures.service.count == 25, "percentiles are those of wanted answers"
    assert measures.errors.count == 75, "and those of errors stand beside them"


def test_a_refused_key_ends_it(virtual: VirtualLoop) -> None:
    server = Server(reply=lambda _: (401, b"{}"))
    measures = drive(virtual, make_plan(Schedule(100, 60)), server)
    assert measures.halted is not None
    assert "key" in measures.halted
    assert len(server.starts) < 10


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (TransportFault("connect_failed", "unwritten", "Connection refused"), "nothing listens"),
        (TransportFault("tls_failed", "unwritten", "handshake failed"), "no connection"),
        ((404, b'{"errors":[]}'), "no such path"),
        ((405, b"{}"), "no such path"),
        ((403, b"{}"), "403"),
        ((302, b""), "redirect"),
    ],
)
def test_what_cannot_succeed_ends_at_once(virtual: VirtualLoop, reply: Any, said: str) -> None:
    server = Server(reply=lambda _: reply)
    measures = drive(virtual, make_plan(Schedule(100, 600)), server)
    assert said in (measures.halted or "")
    assert not measures.succeeded
    assert len(server.starts) < 10


@pytest.mark.parametrize("reply", [(500, b"{}"), (422, b"{}"), TransportFault("timeout", "written", "late")])
def test_what_may_yet_succeed_goes_on(virtual: VirtualLoop, reply: Any) -> None:
    server = Server(reply=lambda n: (200, OK) if n > 50 else reply)
    measures = drive(virtual, make_plan(Schedule(100, 1)), server)
    assert measures.halted is None
    assert measures.ok == 50


def test_a_few_unknown_paths_among_others_do_not_end_it(virtual: VirtualLoop) -> None:
    server = Server(reply=lambda n: (404, b"{}") if n in (1, 2, 4, 5, 6) else (500, b"{}") if n == 3 else (200, OK))
    measures = drive(virtual, make_plan(Schedule(100, 1)), server)
    assert measures.halted is None
    assert measures.ok == 94


def test_the_reason_holds_nothing_of_the_payload(virtual: VirtualLoop) -> None:
    server = Server(reply=lambda _: (422, b'{"meta":{"error":"bench-1000000@example.com is no good, nor is 12.50"}}'))
    measures = drive(virtual, make_plan(Schedule(100, 0.1)), server)
    assert "422" in (measures.failure or "")
    assert "bench-" not in (measures.failure or "")


@given(rate=st.floats(0.5, 5000), ramp=st.floats(0, 20), warm_up=st.floats(0, 5), duration=st.floats(0.5, 20))
def test_the_schedule_is_even_and_complete(rate: float, ramp: float, warm_up: float, duration: float) -> None:
    schedule = Schedule(rate, duration, warm_up, ramp)
    total = schedule.total
    if not total:
        return
    assert schedule.at(0) == 0
    assert schedule.at(total - 1) <= schedule.end + 1e-6 <= schedule.at(total) + 1e-5
    sample = [schedule.at(number) for number in range(0, total, max(1, total // 200))]
    assert sample == sorted(sample)
    full = [number for number in range(max(0, total - 50), total) if number >= rate * ramp / 2]
    for number in full[1:]:
        assert schedule.at(number) - schedule.at(number - 1) <= 1 / rate + 1e-6


def test_processes_share_one_schedule(virtual: VirtualLoop) -> None:
    plan = make_plan(Schedule(90, 2), processes=3)
    servers = [Server() for _ in range(3)]
    first, *others = [drive(virtual, plan, server, index) for index, server in enumerate(servers)]
    for other in others:
        first.merge(pickle.loads(pickle.dumps(other)))
    assert first.started == first.latency.count == 180
    assert [len(server.starts) for server in servers] == [60, 60, 60]
    assert sum(row["planned"] for row in first.series.rows(0)) == 180


async def test_the_alarm_is_never_early() -> None:
    alarm = make_alarm()
    for _ in range(20):
        instant = clock() + 0.003
        await alarm.until(instant)
        assert clock() >= instant
    await alarm.until(clock() - 1)
    alarm.close()


@pytest.mark.parametrize("rate", [100.0, math.inf])
@pytest.mark.parametrize("where", ["sending", "counting"])
def test_what_breaks_in_this_program_ends_the_run_and_is_told(
    virtual: VirtualLoop, monkeypatch: pytest.MonkeyPatch, rate: float, where: str
) -> None:
    def broken(*_: object) -> tuple[int, bytes]:
        raise LookupError

    server = Server(reply=broken) if where == "sending" else Server()
    if where == "counting":
        monkeypatch.setattr("sender.bench.driver.judge", broken)
    measures = drive(virtual, make_plan(Schedule(rate, 5), concurrency=3), server)
    assert measures.halted == "a request broke: LookupError"
    assert len(server.starts) <= 3
