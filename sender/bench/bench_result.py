"""The Result of a benchmark as a JSON document, written and read back (schema `sender-bench/1`)."""

from __future__ import annotations

import math
import os
import platform
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.errors import OutputError, UsageError
from sender.runtime.histogram import Histogram
from sender.runtime.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from sender.bench.measures import Measures
    from sender.bench.plan import BenchPlan

SCHEMA: Final = "sender-bench/1"
MOST_FILE: Final = 64 * 2**20
ENOUGH: Final = 0.99
"""Part of the planned requests that has to be started; how many may fail is for thresholds to say."""
PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
LATENCIES: Final = (*PERCENTILES, "max", "mean")
CURVE: Final = (0, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.999)
GROUPS: Final = ("latency_ms", "service_ms", "start_lag_ms")


def make_result(plan: BenchPlan, measures: Measures, started_at: str) -> dict[str, Any]:
    """Everything that is saved and shown; it holds no key, no payload and no address but the target's.

    `latency_ms`, `service_ms`, the curve and the reached rate are those of wanted answers, `error_ms` of all others.
    """
    latency = measures.latency if measures.ok else Histogram()  # waiting alone is no figure of a server
    groups = {"latency": latency, "service": measures.service, "error": measures.errors, "start_lag": measures.lag}
    return {
        "schema": SCHEMA,
        "sender": __version__,
        "started_at": started_at,
        "asked": _asked(plan),
        "reached": _reached(plan, measures),
        **{f"{name}_ms": figures(histogram) for name, histogram in groups.items()},
        "statuses": dict(measures.statuses),
        "error_codes": dict(measures.codes),
        "curve": curve(latency),
        "histograms": {"unit": "ms", **{name: _pairs(histogram) for name, histogram in groups.items()}},
        "series": {"width_s": measures.series.width, "rows": measures.series.rows(plan.schedule.measured_from)},
        **parts_of(plan, measures),
        "machine": machine(),
    }


def parts_of(plan: BenchPlan, measures: Measures) -> dict[str, Any]:
    """`parts`: a row for each stage and kind of a scenario, of the whole run; nothing for a run without one."""
    if plan.stages is None:
        return {}
    rows = []
    for (place, kind), step in sorted(measures.parts.items()):
        stage = plan.stages.stages[place]
        p50, p90, p99 = step.latency_ms.percentiles((50, 90, 99))
        rows.append({"stage": stage.name, "kind": kind, "seconds": stage.seconds, "started": step.planned,
                     "ok": step.ok, "http_429": step.http_429, "errors": step.planned - step.ok,
                     "p50": _rounded(p50), "p90": _rounded(p90), "p99": _rounded(p99),
                     "max": _rounded(step.latency_ms.most)})
    return {"parts": rows}


def figures(histogram: Histogram) -> dict[str, float | None]:
    """Percentiles, largest value and mean in milliseconds; None where nothing was counted."""
    if not histogram.count:
        return dict.fromkeys(LATENCIES)
    percentiles = zip(PERCENTILES, histogram.percentiles(tuple(PERCENTILES.values())), strict=True)
    found = {**dict(percentiles), "max": histogram.most, "mean": histogram.total / histogram.count}
    return {name: _rounded(value) for name, value in found.items()}


def curve(histogram: Histogram) -> list[list[float | None]]:
    """[percentile, milliseconds] as far out as the number of values carries."""
    carried = [percent for percent in CURVE if histogram.count and percent <= 100 - 100 / histogram.count]
    return [[percent, _rounded(value)] for percent, value in zip(carried, histogram.percentiles(carried), strict=True)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _pairs(histogram: Histogram) -> list[tuple[float, int]]:
    """(milliseconds that so many did not exceed, how many of them exceed the bound before)."""
    return [(round(min(bound, histogram.most), 6), count) for bound, count in histogram.counts()]


def _asked(plan: BenchPlan) -> dict[str, Any]:
    schedule = plan.schedule
    return {
        "target": plan.base_url,
        "rate": "max" if math.isinf(schedule.rate) else schedule.rate,
        "duration_s": schedule.duration, "warm_up_s": schedule.warm_up, "ramp_s": schedule.ramp,
        "kinds": dict(Counter(template.kind for template in plan.templates)),
        **({"users": plan.concurrency, "think_s": plan.think} if plan.users else {}),
        "processes": plan.processes, "concurrency": plan.concurrency, "timeout_s": plan.timeout,
    }


def _reached(plan: BenchPlan, measures: Measures) -> dict[str, Any]:
    schedule = plan.schedule
    seconds = max(0.0, measures.ran - schedule.measured_from)
    planned = measures.started + measures.not_started
    by_schedule = not math.isinf(schedule.rate)
    kept = measures.started >= ENOUGH * planned > 0 or not by_schedule
    return {
        "seconds": round(seconds, 3), "rate": round(measures.ok / seconds, 3) if seconds else 0.0,
        "started_rate": round(measures.started / seconds, 3) if seconds else 0.0,
        "share": measures.ok / max(1, planned) if by_schedule else None,
        "rate_reached": kept and measures.ok > 0 and not measures.stopped,
        "planned": planned, "started": measures.started, "not_started": measures.not_started,
        "answered": measures.answered, "ok": measures.ok, "errors": measures.started - measures.ok,
        "error_share": (measures.started - measures.ok) / measures.started if measures.started else 0.0,
        "http_429": measures.http_429, "held_up": measures.held_up, "most_in_flight": measures.most_in_flight,
        "stopped": measures.stopped, "halted": measures.halted,
    }


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}", "arch": platform.machine(),
        "python": platform.python_version(), "loop": "uvloop" if find_spec("uvloop") else "asyncio",
    }


def save(result: dict[str, Any], path: Path) -> None:
    """Write the result; OutputError when it cannot be written."""
    try:
        path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise OutputError(f"--save: {path} cannot be written: {error.strerror}") from None


def read_result(path: Path) -> dict[str, Any]:
    """A saved result, checked; UsageError when the file is none."""
    try:
        if path.stat().st_size > MOST_FILE:
            raise UsageError(f"{path} is larger than any benchmark result")
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError:
        raise UsageError(f"{path} is not a benchmark result: it is not JSON") from None
    if not isinstance(document, dict) or not str(document.get("schema", "")).startswith("sender-bench/"):
        raise UsageError(f"{path} is not a benchmark result; sender bench --save FILE writes one")
    if document["schema"] != SCHEMA:
        raise UsageError(f"{path} has another schema than {SCHEMA}; read it with the version that wrote it")
    wrong = _what_is_wrong(document)
    if wrong:
        raise UsageError(f"{path} is not a whole benchmark result: {wrong}")
    return document


def _what_is_wrong(document: dict[str, Any]) -> str | None:
    for group in (*GROUPS, "asked", "reached", "statuses", "error_codes", "machine", "series"):
        if not isinstance(document.get(group), dict):
            return f"{group} is missing"
    for group in (*GROUPS, *({"error_ms"} & document.keys())):  # older results do not tell of errors
        if not isinstance(document[group], dict):
            return f"{group} has no figures"
        if not all(_is_number(document[group].get(name, "missing"), none=True) for name in LATENCIES):
            return f"{group} lacks a figure"
    needed = ("rate", "planned", "started", "not_started", "answered", "ok", "errors", "error_share", "http_429")
    if not all(_is_number(document["reached"].get(name)) for name in needed):
        return "reached lacks a figure"
    asked = document["asked"]
    if not (asked.get("rate") == "max" or _is_number(asked.get("rate"))):
        return "asked has no rate"
    if not all(_is_number(asked.get(name)) for name in ("duration_s", "warm_up_s", "ramp_s")):
        return "asked lacks a figure"
    if not all(_is_number(value) for group in ("statuses", "error_codes") for value in document[group].values()):
        return "a count is not a number"
    return _wrong_parts(document) or _wrong_series(document)


def _wrong_parts(document: dict[str, Any]) -> str | None:
    """Of `parts` and `repeats`, which only some results have."""
    for group, counts, others in (("parts", ("started", "ok", "errors", "http_429"), ("p50", "p99", "max")),
                                  ("repeats", ("rate", "error_share"), ("p50", "p90", "p99", "mean"))):
        rows = document.get(group, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) > 100_000:
            return f"{group} has no rows"
        if not all(_is_number(row.get(name)) for row in rows for name in counts):
            return f"{group} lacks a figure"
        if not all(_is_number(row.get(name, "missing"), none=True) for row in rows for name in others):
            return f"{group} lacks a latency"
    if not all(isinstance(row.get(name), str) for row in document.get("parts", []) for name in ("stage", "kind")):
        return "parts lack a name"
    return None


def _wrong_series(document: dict[str, Any]) -> str | None:
    rows = document["series"].get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) > 100_000:
        return "the series has no rows"
    whole = ("at_s", "planned", "answered", "ok", "http_429")
    for row in rows:
        if not all(_is_number(row.get(name)) for name in whole):
            return "a row of the series lacks a figure"
        if not all(_is_number(row.get(name), none=True) for name in ("p50", "p90", "p99", "max")):
            return "a row of the series lacks a latency"
    curve = document.get("curve")
    if not isinstance(curve, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in curve
    ):
        return "the curve has no points"
    width = document["series"].get("width_s")
    return None if _is_number(width) and width > 0 else "the series has no width"


def _is_number(value: object, *, none: bool = False) -> bool:
    if value is None:
        return none
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
