"""Metrics: what was counted comes out, what runs is read at the scrape, and labels stay few."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from sender.engine.breaker import FAILURES, Breaker
from sender.engine.pacing.pacer import Pacer
from sender.jobs.kinds import KINDS, LANES
from sender.runtime.metrics import commit_time
from sender.runtime.metrics.events import LATENCY
from sender.runtime.metrics.gauges import FLAGS
from sender.runtime.metrics.labels import HTTP_STATUSES
from sender.runtime.metrics.replica_metrics import ReplicaMetrics
from sender.transport import Reply, TransportFault
from tests.engine.world import OK, World, run
from tests.support.lanes import lane
from tests.support.memory_ledger import MemoryLedger
from tests.support.servers import require
from tests.support.traffic import Letters, Traffic

if TYPE_CHECKING:
    from sender.engine.lane import Lane
    from tests.support.virtual_time import VirtualLoop

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(metrics: ReplicaMetrics) -> Samples:
    _, text = await metrics.render()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def one(samples: Samples, name: str, **labels: str) -> float:
    """A sample, of the default workspace where it is one of a workspace."""
    found = samples.get((name, tuple(sorted(labels.items()))))
    return samples[name, tuple(sorted({"workspace": "default", **labels}.items()))] if found is None else found


async def test_events_come_out_as_they_went_in() -> None:
    metrics = ReplicaMetrics()
    for seconds in (0.004, 0.03, 0.04, 30.0):
        metrics.of(None).observe_attempt("send", "email", 200, seconds)
    metrics.of(None).observe_attempt("send", "email", "timeout", None)
    metrics.of(None).observe_turn("send", 0.2)
    metrics.of(None).observe_outcome("sent")
    samples = await scrape(metrics)
    assert one(samples, "sender_requests_total", lane="send", kind="email", status="200") == 4
    assert one(samples, "sender_requests_total", lane="send", kind="email", status="timeout") == 1
    assert one(samples, "sender_request_duration_seconds_bucket", lane="send", le="0.005") == 1
    assert one(samples, "sender_request_duration_seconds_bucket", lane="send", le="0.05") == 3
    assert one(samples, "sender_request_duration_seconds_bucket", lane="send", le="20.0") == 3
    assert one(samples, "sender_request_duration_seconds_bucket", lane="send", le="+Inf") == 4
    assert one(samples, "sender_request_duration_seconds_count", lane="send") == 4
    assert one(samples, "sender_request_duration_seconds_sum", lane="send") == pytest.approx(30.074)
    assert one(samples, "sender_pacer_wait_seconds_count", lane="send") == 1
    assert one(samples, "sender_outcomes_total", status="sent") == 1
    assert one(samples, "sender_outcomes_total", status="in_doubt") == 0, "known from the start, so that rates begin"


async def test_running_parts_are_read_at_the_scrape() -> None:
    metrics = ReplicaMetrics()
    pacer = Pacer(100.0)
    permit = await pacer.acquire()
    permit.written()
    breaker = Breaker(100.0)
    metrics.of(None).watch_lane("send", lane(pacer, breaker=breaker))
    samples = await scrape(metrics)
    assert one(samples, "sender_requests_in_hand", lane="send") == 3
    assert one(samples, "sender_jobs_waiting", lane="send") == 7
    assert one(samples, "sender_http_429_total", lane="send") == 2
    assert one(samples, "sender_requests_written_total", lane="send") == 1
    assert one(samples, "sender_window_requests_max", lane="send") == 1
    assert one(samples, "sender_rate_limit", lane="send") == 100
    assert one(samples, "sender_pause_seconds", lane="send") == 0
    assert one(samples, "sender_breaker_state", lane="send", state="closed") == 1
    now = asyncio.get_running_loop().time()
    for _ in range(FAILURES):
        breaker.bad(now, now)
    pacer.pause_until(now + 100)
    samples = await scrape(metrics)
    assert one(samples, "sender_breaker_state", lane="send", state="closed") == 0
    assert one(samples, "sender_breaker_state", lane="send", state="open") == 1
    assert one(samples, "sender_breaker_openings_total", lane="send") == 1
    assert 90 < one(samples, "sender_pause_seconds", lane="send") <= 100


async def test_what_is_not_known_is_absent_and_not_zero() -> None:
    metrics = ReplicaMetrics()
    metrics.watch_queue("jobs", lambda: None)
    names = {name for name, _ in await scrape(metrics)}
    assert not names & {
        "sender_queue_lag_jobs",
        "sender_state_up",
        "sender_ledger_jobs",
        "sender_messages_in_hand",
        "sender_ready",
    }


async def test_queues_state_and_conditions() -> None:
    met = {"queue": True, "state": True}
    metrics = ReplicaMetrics()
    metrics.state, metrics.conditions, metrics.in_hand = lambda: met["state"], lambda: met, lambda: 5
    metrics.watch_queue("jobs", lambda: 1200)
    metrics.watch_queue("amqp://user:hunter2@rabbit/receipts", lambda: 0)
    samples = await scrape(metrics)
    assert one(samples, "sender_queue_lag_jobs", queue="jobs") == 1200
    assert one(samples, "sender_queue_lag_jobs", queue="rabbit/receipts") == 0, "a password in a name is left out"
    assert one(samples, "sender_messages_in_hand") == 5
    assert (one(samples, "sender_state_up"), one(samples, "sender_ready")) == (1, 1)
    met["state"] = False
    samples = await scrape(metrics)
    assert (one(samples, "sender_state_up"), one(samples, "sender_ready")) == (0, 0)
    assert one(samples, "sender_condition", condition="queue") == 1
    assert one(samples, "sender_condition", condition="state") == 0


async def test_dead_letters_and_what_comes_again() -> None:
    metrics = ReplicaMetrics()
    assert not {name for name, _ in await scrape(metrics) if "dead_letters" in name}
    metrics.dead_letters, metrics.oldest = Letters(), lambda: 7.5
    metrics.watch_queue("jobs", lambda: None, Traffic())
    samples = await scrape(metrics)
    assert one(samples, "sender_dead_letters_written_total", reason="in_doubt") == 2
    assert one(samples, "sender_dead_letters_written_total", reason="rejected") == 0, "known from the start"
    assert one(samples, "sender_dead_letters_refused_total") == 3
    assert one(samples, "sender_dead_letters_waiting") == 1
    assert not {name for name, _ in samples if "retries" in name}
    metrics.retries = Letters()
    retries = await scrape(metrics)
    assert one(retries, "sender_retries_written_total") == sum(Letters().written.values())
    assert (one(retries, "sender_retries_refused_total"), one(retries, "sender_retries_waiting")) == (3, 1)
    assert one(samples, "sender_redeliveries_total", queue="jobs") == 4
    assert one(samples, "sender_give_backs_total", queue="jobs") == 5
    assert one(samples, "sender_oldest_message_age_seconds") == 7.5


def test_the_rate_is_known_at_the_first_scrape(virtual: VirtualLoop) -> None:
    """It read 0.0 after 372 requests: the rate was reckoned between scrapes alone."""

    async def work() -> None:
        metrics, pacer = ReplicaMetrics(), Pacer(100.0)
        metrics.of(None).watch_lane("send", lane(pacer))
        for _ in range(372):
            (await pacer.acquire()).written()
            metrics.of(None).observe_attempt("send", "email", 200, 0.05)
        assert 80 < one(await scrape(metrics), "sender_achieved_rate", lane="send") < 105
        await asyncio.sleep(3600)
        assert one(await scrape(metrics), "sender_achieved_rate", lane="send") < 1

    virtual.run_until_complete(work())


async def test_promtool_has_nothing_to_say() -> None:
    (promtool,) = require("promtool")
    metrics = ReplicaMetrics()
    metrics.of(None).watch_lane("send", lane(Pacer(100.0)))
    metrics.of(None).observe_attempt("send", "email", 200, 0.05)
    metrics.of(None).watch_ledger(CountingLedger())
    metrics.dead_letters, metrics.oldest, metrics.in_hand = Letters(), lambda: 7.5, lambda: 5
    metrics.retries = Letters()
    metrics.state, metrics.conditions = lambda: True, lambda: {"working": True}
    metrics.parked, metrics.deliveries = lambda: (2, 9000), lambda: {"delivered": 7}
    metrics.watch_queue("jobs", lambda: 3, Traffic())
    metrics.of(None).watch_flags(dict.fromkeys(FLAGS, lambda: True))
    _, text = await metrics.render()
    empty = [family.name for family in parse(text.decode()) if not family.samples]
    assert empty == [], "all are shown to it"
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


async def test_workspaces_are_kept_apart() -> None:
    metrics = ReplicaMetrics()
    metrics.of("eu").observe_attempt("send", "email", 200, 0.1)
    metrics.of("eu").observe_attempt("send", "email", 200, 0.1)
    metrics.of(None).observe_attempt("send", "email", 200, 0.1)
    metrics.of("eu").watch_lane("send", lane(Pacer(50.0)))
    samples = await scrape(metrics)
    same = {"lane": "send", "kind": "email", "status": "200"}
    assert one(samples, "sender_requests_total", **same, workspace="eu") == 2
    assert one(samples, "sender_requests_total", **same, workspace="default") == 1
    assert one(samples, "sender_rate_limit", lane="send", workspace="eu") == 50
    for number in range(500):
        metrics.of(f"w{number}").observe_outcome("sent")
    assert len(metrics.workspaces) < 150


async def test_what_holds_a_workspace_up() -> None:
    metrics = ReplicaMetrics()
    assert not {"sender_paused", "sender_halted", "sender_state_away"} & {name for name, _ in await scrape(metrics)}
    metrics.of("eu").watch_flags({"paused": lambda: True, "halted": lambda: False})
    samples = await scrape(metrics)
    assert one(samples, "sender_paused", workspace="eu") == 1
    assert one(samples, "sender_halted", workspace="eu") == 0
    assert "sender_state_away" not in {name for name, _ in samples}, "its memory is its own"


class CountingLedger(MemoryLedger):
    asked = 0
    broken = False

    async def count(self) -> dict[str, int]:
        self.asked += 1
        if self.broken:
            raise OSError("gone")
        return {"sent": 10, "in_doubt": 4}


async def test_doubts_are_asked_of_the_ledger_once_for_many_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, metrics = CountingLedger(), ReplicaMetrics()
    metrics.of(None).watch_ledger(ledger)
    for _ in range(5):
        samples = await scrape(metrics)
    assert one(samples, "sender_ledger_jobs", state="in_doubt") == 4
    assert one(samples, "sender_ledger_jobs", state="handed_over") == 0
    assert ledger.asked == 1
    monkeypatch.setattr("sender.runtime.metrics.replica_metrics.ASK_EVERY", 0)
    ledger.broken = True
    samples = await scrape(metrics)
    assert "sender_ledger_jobs" not in {name for name, _ in samples}, "an old number would be taken for a new one"


async def test_a_ledger_that_hangs_does_not_hang_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MemoryLedger):
        async def count(self) -> dict[str, int]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("sender.runtime.metrics.watched.WITHIN", 0.01)
    metrics = ReplicaMetrics()
    metrics.of(None).watch_ledger(Hanging())
    assert one(await scrape(metrics), "sender_outcomes_total", status="sent") == 0


async def test_a_commit_is_timed_also_when_it_fails() -> None:
    metrics = ReplicaMetrics()
    with commit_time(metrics.of(None), "hand_over"):
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="disk full"), commit_time(metrics.of(None), "settle"):
        raise OSError("disk full")
    samples = await scrape(metrics)
    assert one(samples, "sender_ledger_commit_seconds_count", operation="hand_over") == 1
    assert one(samples, "sender_ledger_commit_seconds_count", operation="settle") == 1
    assert one(samples, "sender_ledger_commit_seconds_count", operation="release") == 0


def test_a_lane_at_work_is_seen_as_it_was() -> None:
    """The whole engine against a scripted API: the scrape and the API agree on every request."""
    metrics = ReplicaMetrics()

    def script(number: int, _: float) -> tuple[float, Reply | TransportFault]:
        if number % 50 == 7:
            return 0.05, Reply(429, "application/json", b"{}", "1")
        if number % 50 == 9:
            return 0.05, TransportFault("connect_failed", "unwritten", "no connection")
        return 0.05, OK

    def watch(_: VirtualLoop, at_work: Lane) -> None:
        at_work._context.observer = metrics.of(None)
        metrics.of(None).watch_lane("send", at_work)

    world = World(script)
    run(world, 300, before=watch)
    samples = asyncio.run(scrape(metrics))
    same = {"lane": "send", "kind": "email"}
    assert one(samples, "sender_requests_total", status="200", **same) == 300
    assert one(samples, "sender_requests_total", status="429", **same) == 7
    assert one(samples, "sender_http_429_total", lane="send") == 7
    assert one(samples, "sender_requests_total", status="connect_failed", **same) == len(world.bodies) - 307
    assert one(samples, "sender_requests_written_total", lane="send") == len(world.written)
    assert one(samples, "sender_window_requests_max", lane="send") <= 100
    assert one(samples, "sender_requests_in_hand", lane="send") == 0
    assert one(samples, "sender_jobs_waiting", lane="send") == 0
    assert one(samples, "sender_request_duration_seconds_count", lane="send") == 307
    assert one(samples, "sender_pacer_wait_seconds_count", lane="send") >= len(world.bodies)
    assert one(samples, "sender_ledger_commit_seconds_count", operation="hand_over") > 0


@given(
    st.lists(st.tuples(st.text(), st.text(), st.one_of(st.integers(), st.text()), st.floats() | st.none()), max_size=50)
)
def test_no_text_of_others_becomes_a_label(attempts: list[tuple[str, str, int | str, float | None]]) -> None:
    metrics = ReplicaMetrics()
    for lane_name, kind, status, seconds in attempts:
        metrics.of(None).observe_attempt(lane_name, kind, status, seconds)
        metrics.of(None).observe_outcome(kind)
        metrics.of(None).observe_turn(lane_name, 0.1)
    requests = [labels for name, labels in asyncio.run(scrape(metrics)) if name == "sender_requests_total"]
    for (_, kind), (_, lane_name), (_, status), _ in requests:
        assert lane_name in (*LANES, "other")
        assert kind in (*KINDS, "other")
        assert status in {*map(str, HTTP_STATUSES), "1xx", "2xx", "3xx", "4xx", "5xx", "other"} or status.isascii()
        assert len(status) < 24


async def test_every_family_has_help_a_prefix_and_base_units() -> None:
    metrics = ReplicaMetrics()
    metrics.of(None).watch_lane("send", lane(Pacer(100.0)))
    content_type, text = await metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = list(parse_openmetrics(text.decode()))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("sender_"), family.name
        assert family.documentation, family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb")), family.name
    content_type, _ = await metrics.render("")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"


async def test_two_runs_share_nothing() -> None:
    first, second = ReplicaMetrics(), ReplicaMetrics()
    first.of(None).observe_outcome("sent")
    assert one(await scrape(second), "sender_outcomes_total", status="sent") == 0
    assert one(await scrape(first), "sender_outcomes_total", status="sent") == 1


@given(st.lists(st.floats(min_value=-1, max_value=100), max_size=200))
def test_a_duration_counts_under_all_bounds_that_hold_it(values: list[float]) -> None:
    metrics = ReplicaMetrics()
    for value in values:
        metrics.of(None).observe_attempt("send", "email", 200, value)
    samples = asyncio.run(scrape(metrics))
    for bound in LATENCY:
        count = one(samples, "sender_request_duration_seconds_bucket", lane="send", le=str(bound))
        assert count == sum(value <= bound for value in values)
    assert one(samples, "sender_request_duration_seconds_bucket", lane="send", le="+Inf") == len(values)
    total = one(samples, "sender_request_duration_seconds_sum", lane="send")
    assert total == pytest.approx(sum(max(0.0, value) for value in values))


async def test_a_duration_that_is_no_number_is_not_counted() -> None:
    metrics = ReplicaMetrics()
    for value in (math.nan, math.inf, -math.inf):
        metrics.of(None).observe_attempt("send", "email", 200, value)
        metrics.of(None).observe_turn("send", value)
    samples = await scrape(metrics)
    for name in ("sender_request_duration_seconds", "sender_pacer_wait_seconds"):
        assert one(samples, f"{name}_bucket", lane="send", le="+Inf") == 0
        assert one(samples, f"{name}_sum", lane="send") == 0


def test_the_libraries_of_the_health_port_are_imported_only_when_it_is_asked_for() -> None:
    code = (
        "import sys, sender.consume.consumer, sender.runtime.conditions, sender.send.send_run\n"
        "assert not {'prometheus_client', 'aiohttp.web'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_prometheus_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from sender.errors import UsageError\n"
        "try:\n    import sender.runtime.metrics.replica_metrics\n"
        'except UsageError as error:\n    assert "sender[metrics]" in str(error)\n'
        "else:\n    raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
