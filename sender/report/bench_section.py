"""The section of a benchmark result. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.report.section import Chart, Curve, Fact, Section, Table
from sender.report.words import clean, clean_code, ms, number, per_second, share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.report.section import Tone

GROUPS = (
    ("latency, from the planned start", "latency_ms"), ("service, from the real start", "service_ms"),
    ("errors, from the planned start", "error_ms"), ("late start", "start_lag_ms"),
)
FIGURES = ("p50", "p90", "p99", "p99.9", "max", "mean")


def bench_section(name: str, result: Mapping[str, Any], index: int) -> Section:
    """Everything that a saved benchmark tells."""
    charts = tuple(chart for chart in (_rate(result, index), _latency(result, index), _percentiles(result, index))
                   if chart is not None)
    tables = (_figures(result), _answers(result), _machine(result))
    return Section(name, _subtitle(result), _facts(result), (), charts, tables, _notes(result))


def _subtitle(result: Mapping[str, Any]) -> str:
    asked = result["asked"]
    kinds = asked.get("kinds")
    names = ", ".join(map(clean_code, list(kinds)[:6])) if isinstance(kinds, dict) else ""
    target, when = clean(asked.get("target"), 80), clean(result.get("started_at"), 30)
    return f"{names} to {target} for {asked['duration_s']:g} s, {when}"


def _facts(result: Mapping[str, Any]) -> tuple[Fact, ...]:
    asked, reached = result["asked"], result["reached"]
    rate: float | None = None if asked["rate"] == "max" else float(asked["rate"])
    enough = reached.get("rate_reached") is True
    facts = [
        Fact("asked", "max" if rate is None else per_second(rate)),
        Fact("reached", per_second(reached["rate"]), "good" if enough else "bad"),
        Fact("requests", number(reached["started"])),
        Fact(f"errors, {share(reached['errors'], reached['started'])}", number(reached["errors"]),
             "bad" if reached["errors"] else "good"),
        Fact("429s", number(reached["http_429"]), "bad" if reached["http_429"] else "quiet"),
    ]
    facts += [Fact(f"latency {name}", ms(result["latency_ms"][name])) for name in ("p50", "p99", "max")]
    return tuple(facts)


def _rate(result: Mapping[str, Any], index: int) -> Chart | None:
    rows, width = result["series"]["rows"], result["series"]["width_s"]
    if not rows:
        return None
    reached = tuple(row["ok"] / width for row in rows)
    curves = [Curve("wanted answers per second", "first", reached, "step")]
    for name, tone, values in _trouble(rows, width):
        curves.append(Curve(name, tone, values, "bars"))
    limit = None if result["asked"]["rate"] == "max" else float(result["asked"]["rate"])
    table = Table(f"Steps of {width:g} s", ("from", "planned/s", "ok/s", "429"),
                  tuple((f"{row['at_s']:g} s", f"{row['planned'] / width:.1f}", f"{row['ok'] / width:.1f}",
                         number(row["http_429"])) for row in _thinned(rows)))
    told = f"Wanted answers per second by their planned start: at most {per_second(max(reached))}."
    return Chart(f"rate-{index}", "Rate", told, tuple(row["at_s"] for row in rows), "per second", tuple(curves), table,
                 width=width, limit=limit, note=_left_out(result))


def _trouble(rows: list[dict[str, Any]], width: float) -> list[tuple[str, Tone, tuple[float, ...]]]:
    failed = tuple(max(0.0, row["planned"] - row["ok"] - row["http_429"]) / width for row in rows)
    refused = tuple(row["http_429"] / width for row in rows)
    found: list[tuple[str, Tone, tuple[float, ...]]] = [
        ("without success per second", "second", failed), ("429 per second", "bad", refused),
    ]
    return [one for one in found if any(one[2])]


def _latency(result: Mapping[str, Any], index: int) -> Chart | None:
    rows = [row for row in result["series"]["rows"] if row["p50"] is not None]
    if not rows:
        return None
    tones: tuple[Tone, ...] = ("first", "third", "second")
    curves = tuple(Curve(name, tone, tuple(row[name] for row in rows))
                   for name, tone in zip(("p50", "p90", "p99"), tones, strict=True))
    table = Table(f"Steps of {result['series']['width_s']:g} s", ("from", "p50", "p90", "p99", "max"),
                  tuple((f"{row['at_s']:g} s", *(ms(row[name]) for name in ("p50", "p90", "p99", "max")))
                        for row in _thinned(rows)))
    told = f"Latency from the planned start over time; p50 is {ms(result['latency_ms']['p50'])} over the measured part."
    return Chart(f"latency-{index}", "Latency over time", told, tuple(row["at_s"] for row in rows), "ms", curves, table,
                 note=_left_out(result))


def _percentiles(result: Mapping[str, Any], index: int) -> Chart | None:
    points = [(percent, value) for percent, value in result["curve"] if 0 <= percent < 100]
    if not points:
        return None
    rows = tuple((f"{percent:g} %", ms(value)) for percent, value in points)
    table = Table(
        "Latency by percentile", ("of all requests", "within"), (*rows, ("100 %", ms(result["latency_ms"]["max"])))
    )
    told = "Latency by percentile: " + ", ".join(f"{a} within {b}" for a, b in table.rows) + "."
    percents, values = zip(*points, strict=True)
    return Chart(f"percentiles-{index}", "Latency by percentile", told, percents, "ms",
                 (Curve("latency", "first", values),), table, axis="percentile")


def _figures(result: Mapping[str, Any]) -> Table:
    rows = tuple(
        (name, *(ms(result[group][one]) for one in FIGURES))
        for name, group in GROUPS
        if any(result.get(group, {}).values())
    )
    return Table("Durations", ("", *FIGURES), rows)


def _answers(result: Mapping[str, Any]) -> Table:
    rows = [(f"status {clean(status, 12)}", number(count)) for status, count in sorted(result["statuses"].items())[:40]]
    rows += [(clean_code(code), number(count)) for code, count in sorted(result["error_codes"].items())[:40]]
    return Table("Answers and errors", ("", "requests"), tuple(rows))


def _machine(result: Mapping[str, Any]) -> Table:
    asked = {f"{name} asked": result["asked"].get(name) for name in ("processes", "concurrency")}
    facts = list({**result["machine"], **asked}.items())[:20]
    rows = tuple((clean(name, 30), clean(value, 60)) for name, value in facts)
    return Table("Measured on", ("what", "is"), rows, words=(0, 1))


def _left_out(result: Mapping[str, Any]) -> str:
    before = result["asked"]["ramp_s"] + result["asked"]["warm_up_s"]
    return f"The first {before:g} s are ramp and warm-up; the figures leave them out." if before else ""


def _notes(result: Mapping[str, Any]) -> tuple[str, ...]:
    reached = result["reached"]
    notes = []
    if reached.get("stopped") is True:
        notes.append("The benchmark was stopped by a signal before its end.")
    if reached["not_started"]:
        notes.append(f"The rate was not reached: {number(reached['not_started'])} of {number(reached['planned'])} "
                     "planned requests were never started, and count with the time they waited.")
    return tuple(notes)


def _thinned(rows: list[dict[str, Any]], most: int = 60) -> list[dict[str, Any]]:
    return rows[:: -(-len(rows) // most)]
