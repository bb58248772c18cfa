"""Two saved results side by side, with ratios; of repeated measurements also whether a difference is real.

A ratio of repeats has an interval that holds it with 99 % confidence, so that all figures together are right with
nearly 95 %. A difference is real when its interval is wholly on one side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.bench.bench_text import FIGURES, ms, table
from sender.bench.intervals import ENOUGH, difference_bounds, ratio_bounds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Result = Mapping[str, Any]

GROUPS = (("latency", "latency_ms"), ("service", "service_ms"), ("late start", "start_lag_ms"))


JUDGED: Final = {"reached rate": "rate", "errors": "error_share", "latency p50": "p50", "latency p90": "p90",
                 "latency p99": "p99", "latency mean": "mean"}
"""Figures that every repeat has, by the row that shows them."""
WORSE: Final = {"rate": "lower"}
"""All others are worse when they are higher."""


def rows(one: Result, other: Result) -> list[dict[str, Any]]:
    """Every figure of both, and the second by the first; the ratio is None where it says nothing.

    Rows of repeated measurements have `low`, `high` (of the ratio; of errors the difference in percent) and `verdict`.
    """
    found = _all(one, other)
    for row in found:
        if row["figure"] in JUDGED:
            row |= judged(JUDGED[row["figure"]], one.get("repeats", ()), other.get("repeats", ()))
    return found


def judged(name: str, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the ratio, or of errors the difference in percent, surely lies, and what that says."""
    sides = [[row[name] for row in rows if row[name] is not None] for rows in (before, after)]
    if name == "error_share":
        sides, same = [[100 * value for value in side] for side in sides], 0.0
        bounds = difference_bounds(*sides)
    else:
        bounds, same = ratio_bounds(*sides), 1.0
    if bounds is None:
        return {"low": None, "high": None, "verdict": "unknown"}
    verdict = "higher" if bounds[0] > same else "lower" if bounds[1] < same else "no difference shown"
    return {"low": round(bounds[0], 4), "high": round(bounds[1], 4), "verdict": verdict}


def worsened(found: Sequence[Mapping[str, Any]], tolerance: float) -> list[str]:
    """Figures of the second that are really worse, by more than this part (of errors: than this share of requests)."""
    worse = []
    for row in found:
        name = JUDGED.get(row["figure"])
        if name is None or row["verdict"] != WORSE.get(name, "higher"):
            continue
        if name == "error_share":
            surely = row["low"] > 100 * tolerance
        else:
            surely = row["high"] < 1 - tolerance if name in WORSE else row["low"] > 1 + tolerance
        if surely:
            worse.append(row["figure"])
    return worse


def _all(one: Result, other: Result) -> list[dict[str, Any]]:
    found = [
        _row("asked rate", "/s", _asked(one), _asked(other)),
        _row("reached rate", "/s", one["reached"]["rate"], other["reached"]["rate"]),
        _row("errors", "%", 100 * one["reached"]["error_share"], 100 * other["reached"]["error_share"]),
        _row("429s", "", one["reached"]["http_429"], other["reached"]["http_429"]),
    ]
    found += [
        _row(f"{name} {figure}", "ms", one[group][figure], other[group][figure])
        for name, group in GROUPS
        for figure in FIGURES
    ]
    return found


def _asked(result: Result) -> float | None:
    rate = result["asked"]["rate"]
    return None if rate == "max" else float(rate)


def _row(name: str, unit: str, a: float | None, b: float | None) -> dict[str, Any]:
    ratio = round(b / a, 4) if a and b is not None else None
    return {"figure": name, "unit": unit, "a": a, "b": b, "ratio": ratio}


def told(one: Result, other: Result, names: tuple[str, str]) -> str:
    """The table, and what makes the two hard to compare."""
    sure = all(len(result.get("repeats", ())) >= ENOUGH for result in (one, other))
    lines = [("", *names, "ratio", *(("99 %", "") if sure else ()))]
    for row in rows(one, other):
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.3f}"
        more = (_interval(row), row.get("verdict", "").replace("unknown", "")) if sure else ()
        lines.append((f"{row['figure']} {row['unit']}".strip(), _shown(row, "a"), _shown(row, "b"), ratio, *more))
    few = f"whether a difference is chance cannot be told: measure both with --repeat {ENOUGH} or more"
    notes = [] if sure else [few]
    return "\n".join([*table(lines), *notes, *_differences(one, other)]) + "\n"


def _interval(row: Mapping[str, Any]) -> str:
    if row.get("low") is None:
        return ""
    if row["figure"] == "errors":
        return f"{row['low']:+.3g} to {row['high']:+.3g} %"
    return f"{row['low']:.3f} to {row['high']:.3f}"


def _shown(row: Mapping[str, Any], side: str) -> str:
    value = row[side]
    if row["unit"] == "ms":
        return ms(value)
    return "–" if value is None else f"{value:,.4g}" if row["unit"] == "%" else f"{value:,.1f}".removesuffix(".0")


def _differences(one: Result, other: Result) -> list[str]:
    """Settings and machines that differ."""
    found = []
    for group in ("asked", "machine"):
        names = sorted({*one[group], *other[group]})
        different = [name for name in names if one[group].get(name) != other[group].get(name)]
        if different:
            found.append(f"not the same in both: {', '.join(different)}")
    return found
