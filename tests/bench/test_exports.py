"""Results in the forms of others, the live line, and what `compare` makes of repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sender.bench.bench_result import read_result, save
from sender.bench.compare import rows, told, worsened
from sender.bench.exports import k6_summary, prometheus_now, prometheus_text, write_prometheus
from sender.bench.live import Now, line, together
from sender.bench.threshold import parse_threshold
from sender.errors import OutputError, UsageError
from tests.support.bench_results import result

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = (parse_threshold("p99<50ms"), parse_threshold("service.p99<1ms"), parse_threshold("errors<9%"),
          parse_threshold("rate>=1000"), parse_threshold("lag.p50<1s"))
K6 = {"http_reqs", "http_req_failed", "http_req_duration", "http_req_blocked", "iterations", "iteration_duration",
      "checks", "vus", "vus_max", "dropped_iterations"}


def whole() -> dict[str, Any]:
    found = result()
    found["reached"] |= {"started_rate": 99.0}
    found["histograms"] = {name: [(1.0, 90), (40.0, 9), (100.0, 1)] for name in ("latency", "service", "start_lag")}
    return found


def test_k6_has_its_own_names() -> None:
    """As k6 1.8 writes them: `passes` of http_req_failed are failures, a threshold that was crossed is true."""
    found = k6_summary(whole(), CHECKS)
    metrics = found["metrics"]
    assert metrics.keys() == K6
    assert metrics["http_reqs"] == {"count": 990, "rate": 99.0, "thresholds": {"rate>=1000": True}}
    assert metrics["http_req_failed"]["passes"] == 10
    assert metrics["http_req_failed"]["thresholds"] == {"errors<9%": False}
    assert metrics["iteration_duration"]["thresholds"] == {"p99<50ms": False}
    assert metrics["http_req_duration"]["thresholds"] == {"service.p99<1ms": True}
    assert metrics["http_req_duration"]["p(95)"] == 40.0
    assert metrics["http_req_duration"]["med"] == 10.0
    assert metrics["dropped_iterations"]["count"] == 10
    assert found["root_group"]["checks"]["accepted"]["fails"] == 10


def families(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    return {family.name: {tuple(value for name, value in sorted(one.labels.items()) if name != "target"): one.value
                          for one in family.samples} for family in text_string_to_metric_families(text)}


def test_prometheus_can_read_it() -> None:
    found = families(prometheus_text({**whole(), "error_ms": result()["latency_ms"]}, CHECKS))
    assert found["sender_bench_requests"]["ok",] == 980
    assert found["sender_bench_latency_seconds"]["0.99",] == 0.04
    assert found["sender_bench_threshold_holds"]["p99<50ms",] == 1
    assert found["sender_bench_running"][()] == 0
    running = families(prometheus_now(Now(1, 10, 5, 1, 2, 5.0, None, None), 'http://x/"\\\n'))
    assert running["sender_bench_running"][()] == 1
    assert "sender_bench_latency_seconds" not in running


def test_prometheus_never_reads_half(tmp_path: Path) -> None:
    write_prometheus(tmp_path / "bench.prom", "a 1\n")
    write_prometheus(tmp_path / "bench.prom", "a 2\n")
    assert [path.name for path in tmp_path.iterdir()] == ["bench.prom"]
    assert (tmp_path / "bench.prom").read_text() == "a 2\n"
    with pytest.raises(OutputError, match="--prometheus"):
        write_prometheus(tmp_path / "none" / "bench.prom", "a 1\n")


def test_the_live_line_leaves_out_what_does_not_fit() -> None:
    one = Now(5, 10, 1000, 3, 7, 200.0, 4.1, 12.0)
    both = together([one, Now(5, 10, 500, 0, 1, 100.0, 5.0, None)])
    assert line(both, 100) == "━━━━···· 5 of 10 s · 300/s · 1,500 ok · 3 errors · p50 5 p99 12 ms · 8 under way"
    assert line(both, 40) == "━━━━···· 5 of 10 s · 300/s · 1,500 ok"
    assert line(both, 0) == ""


def repeats(p99: float, rate: float = 99.0, errors: float = 0.0) -> dict[str, Any]:
    rows_ = [{"rate": rate * by, "error_share": errors * by, "rate_reached": True, "p50": 10.0 * by, "p90": 20.0 * by,
              "p99": p99 * by, "mean": 12.0 * by} for by in (0.99, 1.0, 1.01)]
    return result(repeats=rows_)


def test_what_is_really_worse() -> None:
    before = repeats(40.0)
    assert worsened(rows(before, repeats(40.0)), 0.0) == []
    slower = rows(before, repeats(60.0))
    assert [row["verdict"] for row in slower if row["figure"] == "latency p99"] == ["higher"]
    assert worsened(slower, 0.0) == ["latency p99"]
    assert worsened(slower, 0.6) == []
    assert worsened(rows(repeats(60.0), before), 0.0) == [], "what is better is not worse"
    assert worsened(rows(before, repeats(40.0, rate=50.0)), 0.0) == ["reached rate"]
    assert worsened(rows(before, repeats(40.0, errors=0.05)), 0.0) == ["errors"]
    assert worsened(rows(before, repeats(40.0, errors=0.05)), 0.06) == []
    assert "no difference shown" in told(before, before, ("a", "b"))


def test_single_runs_are_told_apart_by_nobody() -> None:
    assert worsened(rows(result(), repeats(900.0)), 0.0) == []
    assert "--repeat 3" in told(result(), repeats(900.0), ("a", "b"))


@pytest.mark.parametrize(
    "more",
    [
        {"repeats": 5}, {"repeats": [5]}, {"repeats": [{"rate": "x"}]}, {"parts": [{"started": 1}]},
        {"repeats": [{"rate": 1, "error_share": 0, "p50": "a", "p90": 1, "p99": 1, "mean": 1}]},
        {"parts": [{"started": 1, "ok": 1, "errors": 0, "http_429": 0, "p50": 1, "p99": 1, "max": 1, "stage": 5,
                    "kind": "email"}]},
    ],
)
def test_a_result_with_foreign_repeats_is_refused(more: dict[str, Any], tmp_path: Path) -> None:
    save(result(**more), tmp_path / "a.json")
    with pytest.raises(UsageError, match="not a whole benchmark result"):
        read_result(tmp_path / "a.json")


def test_a_result_with_repeats_is_read(tmp_path: Path) -> None:
    save(repeats(40.0), tmp_path / "a.json")
    assert len(read_result(tmp_path / "a.json")["repeats"]) == 3
