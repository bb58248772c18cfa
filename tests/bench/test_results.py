"""Thresholds, templates, saved results, and what must not be measured."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.bench.bench_options import read_options
from sender.bench.bench_result import curve, figures, read_result
from sender.bench.compare import rows, told
from sender.bench.planning import refuse_vendor
from sender.bench.request_templates import generated, read_templates
from sender.bench.threshold import parse_threshold, with_default
from sender.errors import UsageError
from sender.jobs.job import Job, Line
from sender.jobs.kinds import KINDS
from sender.runtime.histogram import Histogram
from sender.validation.parser import Parser
from tests.support.bench_results import LATENCY, result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p99<50ms", True), ("p99 < 0.04s", False), ("p99<=40000us", True), ("p99.9>=0.08s", True),
        ("service.max<100ms", False), ("lag.p50<11ms", True), ("mean<12.5ms", True), ("rate>=99", True),
        ("rate>99/s", False), ("errors<1%", False), ("errors<=10", True), ("errors<1.1%", True),
    ],
)
def test_threshold(text: str, holds: bool) -> None:
    assert parse_threshold(text).holds(result()) is holds


@pytest.mark.parametrize("text", ["p99<50", "p98<5ms", "errors<5ms", "rate<5%", "service.rate>1", "p99=5ms", "", "٣"])
def test_what_is_no_threshold(text: str) -> None:
    with pytest.raises(UsageError, match="--threshold"):
        parse_threshold(text)


def test_a_threshold_on_nothing_does_not_hold() -> None:
    assert not parse_threshold("p99<1s").holds(result(latency_ms=dict.fromkeys(LATENCY)))


@pytest.mark.parametrize("text", ["p99<1s", "service.p50<1s", "lag.max<1s", "rate<1000", "rate>=0"])
def test_a_threshold_without_a_wanted_answer_does_not_hold(text: str) -> None:
    """A server that was not there passed p99<100ms: waiting and refusals are no samples."""
    refused = result()
    refused["reached"] |= {"ok": 0, "rate": 0.0, "errors": 990, "error_share": 1.0}
    assert parse_threshold(text).holds(result())
    assert not parse_threshold(text).holds(refused)


def test_errors_of_no_requests_are_not_few() -> None:
    nothing = result()
    nothing["reached"] |= {"started": 0, "ok": 0, "errors": 0, "error_share": 0.0}
    assert not parse_threshold("errors<1%").holds(nothing)


def test_errors_are_bounded_unless_the_user_bounds_them() -> None:
    p99, few = parse_threshold("p99<1s"), parse_threshold("errors<5%")
    assert [one.text for one in with_default(())] == ["errors<1%"]
    assert [one.text for one in with_default((p99,))] == ["p99<1s", "errors<1%"]
    assert with_default((few, p99)) == (few, p99)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_generated_payloads_pass_the_checks(kind: Any) -> None:
    template = generated(kind, "0a1b2c3d")
    first, second = template.request(0), template.request(1)
    if kind.lane == "send":
        assert first.body != second.body
        assert first.body is not None
        assert isinstance(Parser(kind.name).parse(Line("-", 1, first.body), 0.0), Job)
    assert first.path.startswith("/v1/")
    assert "{" not in first.path


def templates(*lines: bytes) -> Any:
    return read_templates([Line("jobs", n, line) for n, line in enumerate(lines, 1)], Parser(), "abcd1234", 0.0, 2**20)


def test_a_job_line_becomes_a_template() -> None:
    line = (
        b'{"id":"r-{{bench.n}}","kind":"email","payload": {"to":"p{{bench.n}}@example.com", "identifiers":'
        b'{"id":"{{bench.run}}-{{bench.n}}"},"transactional_message_id":3,"message_data":{"n":{{bench.n}}}}}'
    )
    (template,) = templates(line)
    assert template.request(41).body == (
        b'{"to":"p1000041@example.com", "identifiers":{"id":"abcd1234-1000041"},"transactional_message_id":3,'
        b'"message_data":{"n":1000041}}'
    )
    (broadcast,) = templates(b'{"id":"b","kind":"broadcast","broadcast_id":{{bench.n}},"payload":{}}')
    assert broadcast.request(0).path == "/v1/campaigns/1000000/triggers"


def test_a_wrong_job_line_is_told_by_its_place() -> None:
    with pytest.raises(UsageError, match=r"jobs:1: .*person|jobs:1: .*identifiers"):
        templates(b'{"to":"a@example.com","transactional_message_id":3}')
    with pytest.raises(UsageError, match="without any job"):
        templates()


@pytest.mark.parametrize("host", ["api.customer.io", "API-EU.customer.io.", "x.y.customer.io", "customer.io"])
def test_the_vendor_is_not_measured(host: str) -> None:
    with pytest.raises(UsageError, match="--allow-vendor-host"):
        refuse_vendor(f"https://{host}", allowed=False)
    refuse_vendor(f"https://{host}", allowed=True)
    refuse_vendor("https://notcustomer.io", allowed=False)


def test_options_from_both_sides() -> None:
    found = read_options({"bench_rate": "max"}, {"SENDER_BENCH_RATE": "5", "SENDER_BENCH_DURATION": "2m",
                                                 "SENDER_BENCH_THRESHOLD": "p50<1s,errors<1%"})
    assert found.rate == float("inf")
    assert found.duration == 120
    assert [one.text for one in found.thresholds] == ["p50<1s", "errors<1%"]
    for name, text in (("rate", "-1"), ("rate", "nan"), ("duration", "0"), ("processes", "0"), ("ramp", "9999h"),
                       ("warm_up", "x"), ("processes", "٣")):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: must"):
            read_options({f"bench_{name}": text}, {})


def test_a_histogram_comes_back_from_a_worker_process() -> None:
    histogram = Histogram()
    for value in range(1, 1001):
        histogram.add(float(value))
    again: Histogram = pickle.loads(pickle.dumps(histogram))
    assert figures(again) == figures(histogram)
    assert again.percentile(99) == pytest.approx(990, rel=0.001)
    assert curve(histogram)[-1][0] == 99.9
    again.merge(histogram)
    assert again.count == 2000
    assert again.percentile(99) == histogram.percentile(99)
    assert figures(Histogram())["p50"] is figures(Histogram())["mean"] is None


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=300), percent=st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_is_exact_to_a_thousandth(values: list[float], percent: int) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
    found = histogram.percentile(percent)
    assert found is not None
    assert exact <= found <= exact * 1.0011 + 1e-6
    assert histogram.most == max(values)


def test_saved_results_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result()))
    assert read_result(path) == result()
    slower = result(latency_ms={**LATENCY, "p99": 60.0}, machine={"cores": 4})
    found = {row["figure"]: row["ratio"] for row in rows(result(), slower)}
    assert found["latency p99"] == 1.5
    assert found["service p99"] == 1
    text = told(result(), slower, ("a", "b"))
    assert "1.500" in text
    assert "not the same in both: cores" in text


@pytest.mark.parametrize("broken", [
    {"schema": "sender-bench/9"}, {"latency_ms": {"p50": "fast"}}, {"reached": {}},
    {"service_ms": {}}, {"error_ms": "none"}, {"error_ms": {"p50": 1.0}}, {"error_ms": None},
    {"series": {"rows": [1], "width_s": 1}},
    {"series": {"rows": [], "width_s": 0}}, {"curve": [[1]]}, {"statuses": {"200": "many"}}, {"asked": {"rate": -1}},
])
def test_a_broken_result_is_refused(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result(**broken)))
    with pytest.raises(UsageError, match=r"a\.json"):
        read_result(path)


def test_what_is_no_result_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("", "[]", "{}", "not json", "null"):
        path.write_text(text)
        with pytest.raises(UsageError, match="not a benchmark result"):
            read_result(path)
