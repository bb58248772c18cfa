"""A result in the forms of others: k6's summary, and text that Prometheus reads (docs/benchmarks.md, "For dashboards").

Times of k6's `http_req_duration` run from the real start of a request, as k6's own do; those from the planned start
stand as `iteration_duration`, and how late a request started as `http_req_blocked`.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sender.bench.live import Now
    from sender.bench.threshold import Threshold

TRENDS: Final = {"http_req_duration": "service_ms", "iteration_duration": "latency_ms",
                 "http_req_blocked": "start_lag_ms"}
GROUPS: Final = {"latency": "latency_ms", "service": "service_ms", "start_lag": "start_lag_ms", "error": "error_ms"}
QUANTILES: Final = {"0.5": "p50", "0.9": "p90", "0.99": "p99", "0.999": "p99.9", "1": "max"}
_K6_OF: Final = {"latency": "iteration_duration", "service": "http_req_duration", "lag": "http_req_blocked"}


def k6_summary(result: Mapping[str, Any], thresholds: Sequence[Threshold] = ()) -> dict[str, Any]:
    """As `k6 run --summary-export` writes it; a threshold is true there when it was crossed."""
    reached = result["reached"]
    users = {"value": 0, "min": 0, "max": reached["most_in_flight"]}
    metrics: dict[str, Any] = {
        "http_reqs": {"count": reached["started"], "rate": reached["started_rate"]},
        "http_req_failed": {"passes": reached["errors"], "fails": reached["ok"], "value": reached["error_share"]},
        "checks": {"passes": reached["ok"], "fails": reached["errors"], "value": 1 - reached["error_share"]},
        "iterations": {"count": reached["answered"], "rate": _rate(reached["answered"], reached["seconds"])},
        "dropped_iterations": {"count": reached["not_started"],
                               "rate": _rate(reached["not_started"], reached["seconds"])},
        "vus": users, "vus_max": {**users, "value": result["asked"]["concurrency"]},
        **{name: _trend(result[group], result["histograms"][group.removesuffix("_ms")])
           for name, group in TRENDS.items()},
    }
    for one in thresholds:
        metric = metrics[_k6_metric(one)]
        metric.setdefault("thresholds", {})[one.text] = not one.holds(result)
    check = {"accepted": {"name": "accepted", "path": "::accepted", "passes": reached["ok"],
                          "fails": reached["errors"]}}
    return {"root_group": {"name": "", "path": "", "groups": {}, "checks": check}, "metrics": metrics}


def _k6_metric(threshold: Threshold) -> str:
    if threshold.figure == "rate":
        return "http_reqs"
    return "http_req_failed" if threshold.figure == "errors" else _K6_OF[threshold.scope]


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 3) if seconds else 0.0


def _trend(figures: Mapping[str, float | None], pairs: Sequence[Sequence[float]]) -> dict[str, float]:
    least = pairs[0][0] if pairs else 0.0
    found = {"avg": figures["mean"], "min": least, "med": figures["p50"], "max": figures["max"],
             "p(90)": figures["p90"], "p(95)": _percentile(pairs, 95), "p(99)": figures["p99"],
             "p(99.9)": figures["p99.9"]}
    return {name: value or 0.0 for name, value in found.items()}


def _percentile(pairs: Sequence[Sequence[float]], percent: float) -> float:
    """Of (milliseconds, how many up to there) in ascending order."""
    needed = math.ceil(sum(count for _, count in pairs) * percent / 100)
    for bound, count in pairs:
        needed -= int(count)
        if needed <= 0:
            return bound
    return 0.0


def write_k6(path: Path, result: Mapping[str, Any], thresholds: Sequence[Threshold]) -> None:
    """OutputError when it cannot be written."""
    _put(path, orjson.dumps(k6_summary(result, thresholds), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
         "--k6-summary")


def prometheus_text(result: Mapping[str, Any], thresholds: Sequence[Threshold] = ()) -> str:
    """Every figure of a finished benchmark in Prometheus' text format, times in seconds."""
    reached, asked = result["reached"], result["asked"]
    rows: list[tuple[str, str, Iterable[tuple[dict[str, str], float | None]]]] = [
        ("requests", "Requests of the measured time", [
            ({"what": name}, reached[name]) for name in ("planned", "started", "answered", "ok", "errors",
                                                         "not_started", "http_429")]),
        ("asked_rate", "Requests asked for in a second",
         [({}, None if asked["rate"] == "max" else float(asked["rate"]))]),
        ("reached_rate", "Wanted answers in a second", [({}, reached["rate"])]),
        ("error_ratio", "Part of the requests without a wanted answer", [({}, reached["error_share"])]),
        ("answers", "Answers by status", [({"status": name}, count) for name, count in result["statuses"].items()]),
        *((f"{name}_seconds", f"Percentiles of {name.replace('_', ' ')}", [
            ({"quantile": at}, _seconds(result.get(group, {}).get(figure))) for at, figure in QUANTILES.items()])
          for name, group in GROUPS.items()),
        ("threshold_holds", "Whether a threshold holds, 1 or 0",
         [({"threshold": one.text}, float(one.holds(result))) for one in thresholds]),
        ("running", "Whether the benchmark still runs, 1 or 0", [({}, 0.0)]),
    ]
    return "".join(line for name, text, values in rows for line in _family(name, text, values, asked["target"]))


def prometheus_now(now: Now, target: str) -> str:
    """The same names while it runs, as far as they are known."""
    rows: list[tuple[str, str, list[tuple[dict[str, str], float | None]]]] = [
        ("requests", "Requests of the measured time", [({"what": "ok"}, now.ok), ({"what": "errors"}, now.errors)]),
        ("reached_rate", "Wanted answers in a second", [({}, now.rate)]),
        ("under_way", "Requests under way", [({}, now.under_way)]),
        ("latency_seconds", "Percentiles of latency",
         [({"quantile": "0.5"}, _seconds(now.p50)), ({"quantile": "0.99"}, _seconds(now.p99))]),
        ("running", "Whether the benchmark still runs, 1 or 0", [({}, 1.0)]),
    ]
    return "".join(line for name, text, values in rows for line in _family(name, text, values, target))


def _family(
    name: str, text: str, values: Iterable[tuple[dict[str, str], float | None]], target: str
) -> Iterator[str]:
    known = [(labels, value) for labels, value in values if value is not None]
    if not known:
        return
    yield f"# HELP sender_bench_{name} {text}.\n# TYPE sender_bench_{name} gauge\n"
    for labels, value in known:
        told = ",".join(f'{label}="{_escaped(one)}"' for label, one in {"target": target, **labels}.items())
        yield f"sender_bench_{name}{{{told}}} {value:.10g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def write_prometheus(path: Path, text: str) -> None:
    """Replace the file whole, so that whoever reads it never sees half; OutputError when that cannot be."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    _put(half, text.encode(), "--prometheus")
    try:
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OutputError(f"--prometheus: {path} cannot be written: {error.strerror}") from None


def _put(path: Path, data: bytes, option: str) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{option}: {path} cannot be written: {error.strerror}") from None
