"""Two saved results side by side, with ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.bench.bench_text import FIGURES, ms, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    Result = Mapping[str, Any]

GROUPS = (("latency", "latency_ms"), ("service", "service_ms"), ("late start", "start_lag_ms"))


def rows(one: Result, other: Result) -> list[dict[str, Any]]:
    """Every figure of both, and the second by the first; the ratio is None where it says nothing."""
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
    lines = [("", *names, "ratio")]
    for row in rows(one, other):
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.3f}"
        lines.append((f"{row['figure']} {row['unit']}".strip(), _shown(row, "a"), _shown(row, "b"), ratio))
    return "\n".join([*table(lines), *_differences(one, other)]) + "\n"


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
