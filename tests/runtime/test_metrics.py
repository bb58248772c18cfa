"""Metrics: what was counted comes out, what runs is read at the scrape, and labels stay few."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from sender.engine.breaker import FAILURES, Breaker
from sender.jobs.kinds import KINDS, LANES
from sender.pacing.pacer import Pacer
from sender.runtime.histogram import Histogram
from sender.runtime.metrics import NoMetrics
from sender.runtime.metrics.figures import Figures
from sender.runtime.metrics.prometheus import Exposition
from sender.runtime.metrics.rate import RecentRate
from sender.runtime.metrics.workspace_metrics import HTTP_STATUSES, LATENCY
from sender.transport import Reply, TransportFault
from tests.engine.test_lane import OK, World, run
from tests.support.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from sender.engine.lane import Lane
    from tests.support.virtual_time import VirtualLoop

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(figures: Figures) -> Samples:
    _, text = await Exposition(figures).render()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def one(samples: Samples, name: str, **labels: str) -> float:
    """A sample, of the default workspace where it is one of a workspace."""
    found = samples.get((name, tuple(sorted(labels.items()))))
    return samples[name, tuple(sorted({"workspace": "default", **labels}.items()))] if found is None else found


def lane(pacer: Any, **more: Any) -> Any:
    facts = {"in_hand": 3, "waiting": 7, "http_429": 2, "breaker": Breaker(100.0), "pacer": pacer}
    return SimpleNamespace(**(facts | more))


async def test_events_come_out_as_they_went_in() -> None:
    figures = Figures()
    for seconds in (0.004, 0.03, 0.04, 30.0):
        figures.observe_attempt("send", "email", 200, seconds)
    figures.observe_attempt("send", "email", "timeout", None)
    figures.observe_turn("send", 0.2)
    figures.observe_outcome("sent")
    samples = await scrape(figures)
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
    figures = Figures()
    pacer = Pacer(100.0)
    permit = await pacer.acquire()
    permit.written()
    breaker = Breaker(100.0)
    figures.watch_lane("send", lane(pacer, breaker=breaker))
    samples = await scrape(figures)
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
    samples = await scrape(figures)
    assert one(samples, "sender_breaker_state", lane="send", state="closed") == 0
    assert one(samples, "sender_breaker_state", lane="send", state="open") == 1
    assert one(samples, "sender_breaker_openings_total", lane="send") == 1
    assert 90 < one(samples, "sender_pause_seconds", lane="send") <= 100


async def test_what_is_not_known_is_absent_and_not_zero() -> None:
    figures = Figures()
    figures.watch_queue("jobs", lambda: None)
    names = {name for name, _ in await scrape(figures)}
    assert not names & {
        "sender_queue_lag_jobs",
        "sender_state_up",
        "sender_ledger_jobs",
        "sender_messages_in_hand",
        "sender_ready",
    }


async def test_queues_state_and_conditions() -> None:
    met = {"queue": True, "state": True}
    figures = Figures(state=lambda: met["state"], conditions=lambda: met, in_hand=lambda: 5)
    figures.watch_queue("jobs", lambda: 1200)
    figures.watch_queue("amqp://user:hunter2@rabbit/receipts", lambda: 0)
    samples = await scrape(figures)
    assert one(samples, "sender_queue_lag_jobs", queue="jobs") == 1200
    assert one(samples, "sender_queue_lag_jobs", queue="rabbit/receipts") == 0, "a password in a name is left out"
    assert one(samples, "sender_messages_in_hand") == 5
    assert (one(samples, "sender_state_up"), one(samples, "sender_ready")) == (1, 1)
    met["state"] = False
    samples = await scrape(figures)
    assert (one(samples, "sender_state_up"), one(samples, "sender_ready")) == (0, 0)
    assert one(samples, "sender_condition", condition="queue") == 1
    assert one(samples, "sender_condition", condition="state") == 0


async def test_a_lag_is_asked_of_the_broker_and_absent_when_it_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.runtime.metrics.figures.ASK_EVERY", 0)
    lags: list[int | Exception | None] = [7, None, OSError("gone")]

    async def ask() -> int | None:
        lag = lags.pop(0)
        if isinstance(lag, Exception):
            raise lag
        return lag

    figures = Figures()
    figures.ask_queue("jobs", ask)
    assert one(await scrape(figures), "sender_queue_lag_jobs", queue="jobs") == 7
    for _ in range(2):
        assert "sender_queue_lag_jobs" not in {name for name, _ in await scrape(figures)}
    assert not lags


async def test_workspaces_are_kept_apart() -> None:
    figures = Figures()
    figures.of("eu").observe_attempt("send", "email", 200, 0.1)
    figures.of("eu").observe_attempt("send", "email", 200, 0.1)
    figures.of(None).observe_attempt("send", "email", 200, 0.1)
    figures.of("eu").watch_lane("send", lane(Pacer(50.0)))
    samples = await scrape(figures)
    same = {"lane": "send", "kind": "email", "status": "200"}
    assert one(samples, "sender_requests_total", **same, workspace="eu") == 2
    assert one(samples, "sender_requests_total", **same, workspace="default") == 1
    assert one(samples, "sender_rate_limit", lane="send", workspace="eu") == 50
    for number in range(500):
        figures.of(f"w{number}").observe_outcome("sent")
    assert len(figures.workspaces) < 150


class CountingLedger(MemoryLedger):
    asked = 0
    broken = False

    async def count(self) -> dict[str, int]:
        self.asked += 1
        if self.broken:
            raise OSError("gone")
        return {"sent": 10, "in_doubt": 4}


async def test_doubts_are_asked_of_the_ledger_once_for_many_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, figures = CountingLedger(), Figures()
    figures.watch_ledger(ledger)
    for _ in range(5):
        samples = await scrape(figures)
    assert one(samples, "sender_ledger_jobs", state="in_doubt") == 4
    assert one(samples, "sender_ledger_jobs", state="handed_over") == 0
    assert ledger.asked == 1
    monkeypatch.setattr("sender.runtime.metrics.figures.ASK_EVERY", 0)
    ledger.broken = True
    samples = await scrape(figures)
    assert "sender_ledger_jobs" not in {name for name, _ in samples}, "an old number would be taken for a new one"


async def test_a_ledger_that_hangs_does_not_hang_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MemoryLedger):
        async def count(self) -> dict[str, int]:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr("sender.runtime.metrics.answer.WITHIN", 0.01)
    figures = Figures()
    figures.watch_ledger(Hanging())
    assert one(await scrape(figures), "sender_outcomes_total", status="sent") == 0


async def test_commits_are_timed_and_everything_else_is_passed_on() -> None:
    inner, figures = MemoryLedger(), Figures()
    ledger = figures.timed(inner)
    await ledger.hand_over([])
    await ledger.finish([])
    assert ledger.run == inner.run
    assert await ledger.count() == await inner.count()
    with pytest.raises(AttributeError):
        _ = ledger.no_such_method  # type: ignore[attr-defined]
    samples = await scrape(figures)
    assert one(samples, "sender_ledger_commit_seconds_count", operation="hand_over") == 1
    assert one(samples, "sender_ledger_commit_seconds_count", operation="settle") == 1
    assert one(samples, "sender_ledger_commit_seconds_count", operation="release") == 0


async def test_a_commit_that_fails_is_timed_and_its_error_passes() -> None:
    class Failing(MemoryLedger):
        async def finish(self, entries: Any) -> int:
            raise OSError("disk full")

    figures = Figures()
    with pytest.raises(OSError, match="disk full"):
        await figures.timed(Failing()).finish([])
    assert one(await scrape(figures), "sender_ledger_commit_seconds_count", operation="settle") == 1


def test_a_lane_at_work_is_seen_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole engine against a scripted API: the scrape and the API agree on every request."""
    monkeypatch.setattr("sender.engine.job_execution.JobExecution._detail", lambda self, **_: b"{}")
    figures = Figures()

    def script(number: int, _: float) -> tuple[float, Reply | TransportFault]:
        if number % 50 == 7:
            return 0.05, Reply(429, "application/json", b"{}", "1")
        if number % 50 == 9:
            return 0.05, TransportFault("connect_failed", "unwritten", "no connection")
        return 0.05, OK

    def watch(_: VirtualLoop, at_work: Lane) -> None:
        at_work._context.observer = figures
        figures.watch_lane("send", at_work)

    world = World(script, ledger=cast("MemoryLedger", figures.timed(MemoryLedger())))
    run(world, 300, before=watch)
    samples = asyncio.run(scrape(figures))
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


def test_nobody_asks_and_the_ledger_is_the_same() -> None:
    ledger, nobody = MemoryLedger(), NoMetrics()
    nobody.observe_attempt("send", "email", 200, 0.1)
    nobody.observe_turn("send", 0.1)
    nobody.observe_outcome("sent")
    assert nobody.timed(ledger) is ledger


@given(
    st.lists(st.tuples(st.text(), st.text(), st.one_of(st.integers(), st.text()), st.floats() | st.none()), max_size=50)
)
def test_no_text_of_others_becomes_a_label(attempts: list[tuple[str, str, int | str, float | None]]) -> None:
    figures = Figures()
    for lane_name, kind, status, seconds in attempts:
        figures.observe_attempt(lane_name, kind, status, seconds)
        figures.observe_outcome(kind)
        figures.observe_turn(lane_name, 0.1)
    for lane_name, kind, status in figures.requests:
        assert lane_name in (*LANES, "other")
        assert kind in (*KINDS, "other")
        assert status in {*map(str, HTTP_STATUSES), "1xx", "2xx", "3xx", "4xx", "5xx", "other"} or status.isascii()
        assert len(status) < 24


async def test_every_family_has_help_a_prefix_and_base_units() -> None:
    figures = Figures()
    figures.watch_lane("send", lane(Pacer(100.0)))
    content_type, text = await Exposition(figures).render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = list(parse_openmetrics(text.decode()))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("sender_"), family.name
        assert family.documentation, family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_mb")), family.name
    content_type, _ = await Exposition(figures).render("")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"


async def test_two_runs_share_nothing() -> None:
    first, second = Figures(), Figures()
    first.observe_outcome("sent")
    assert one(await scrape(second), "sender_outcomes_total", status="sent") == 0
    assert one(await scrape(first), "sender_outcomes_total", status="sent") == 1


@given(st.lists(st.floats(min_value=-1, max_value=100), max_size=200))
def test_a_histogram_counts_every_value_under_all_bounds_that_hold_it(values: list[float]) -> None:
    histogram = Histogram(LATENCY)
    for value in values:
        histogram.add(value)
    buckets = histogram.buckets()
    for text, count in buckets[:-1]:
        assert count == sum(value <= float(text) for value in values)
    assert buckets[-1] == ("+Inf", len(values))
    assert histogram.total == pytest.approx(sum(max(0.0, value) for value in values))


def test_a_histogram_takes_no_value_that_is_no_number() -> None:
    histogram = Histogram(LATENCY)
    for value in (math.nan, math.inf, -math.inf):
        histogram.add(value)
    assert histogram.buckets()[-1] == ("+Inf", 0)
    assert histogram.total == 0


def test_the_recent_rate_forgets_what_is_long_ago() -> None:
    rate = RecentRate()
    assert rate.look(0.0, 0) == 0
    for second in range(1, 31):
        looked = rate.look(float(second), second * 100)
    assert looked == pytest.approx(100)
    for second in range(31, 61):
        looked = rate.look(float(second), 3000)
    assert looked == 0
    assert rate.look(60.1, 9999) == 0, "two looks together are one: a second scraper does not disturb the first"


def test_prometheus_is_imported_only_where_it_renders() -> None:
    code = (
        "import sys, sender.runtime.metrics, sender.runtime.metrics.figures, sender.runtime.health\n"
        "assert not any(name.startswith('prometheus_client') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_prometheus_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from sender.errors import UsageError\n"
        "try:\n    import sender.runtime.metrics.prometheus\n"
        'except UsageError as error:\n    assert "sender[metrics]" in str(error)\n'
        "else:\n    raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
