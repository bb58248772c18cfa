"""A benchmark's result as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.bench.threshold import Threshold

ROWS = (
    ("latency, from the planned start", "latency_ms"),
    ("service, from the real start", "service_ms"),
    ("errors, from the planned start", "error_ms"),
    ("late start", "start_lag_ms"),
)
FIGURES = ("p50", "p90", "p99", "p99.9", "max", "mean")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) if column else cell.ljust(width)
                      for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in rows]


def told(result: Mapping[str, Any], thresholds: Iterable[Threshold] = ()) -> str:
    """The whole result."""
    lines = [_heading(result["asked"]), *_rate(result), ""]
    lines += table([("ms", *FIGURES), *((name, *(ms(result[key][one]) for one in FIGURES)) for name, key in ROWS
                                     if key != "error_ms" or result["reached"]["errors"])])
    lines += ["", *_answers(result)]
    lines += _parts(result.get("parts", ()))
    lines += _repeats(result.get("repeats", ()))
    lines += [_verdict(threshold, result) for threshold in thresholds]
    return "\n".join(lines) + "\n"


def _parts(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each stage and kind of a scenario."""
    if not parts:
        return []
    head = ("stage", "kind", "started", "ok", "errors", "429s", "p50", "p99", "max")
    rows = [(one["stage"], one["kind"], f"{one['started']:,}", f"{one['ok']:,}", f"{one['errors']:,}",
             f"{one['http_429']:,}", ms(one["p50"]), ms(one["p99"]), ms(one["max"])) for one in parts]
    return ["", *table([head, *rows])]


def _repeats(repeats: Sequence[Mapping[str, Any]]) -> list[str]:
    """How much the runs differ."""
    if len(repeats) < 2:
        return []
    lines = ["", f"{len(repeats)} runs, all of them above; of each from least to most:"]
    for name, unit in (("rate", "/s"), ("p50", " ms"), ("p99", " ms")):
        values = [one[name] for one in repeats if one[name] is not None]
        if values:
            lines.append(f"  {name} {min(values):,.4g} to {max(values):,.4g}{unit}")
    return lines


def _heading(asked: Mapping[str, Any]) -> str:
    kinds = ", ".join(asked["kinds"])
    before = "".join(f", {asked[key]:g} s {name} before" for key, name in (("ramp_s", "ramp"), ("warm_up_s", "warm-up"))
                     if asked[key])
    many = f", {asked['processes']} processes" if asked["processes"] > 1 else ""
    return f"{asked['target']}: {kinds} for {asked['duration_s']:g} s{before}{many}"


def _rate(result: Mapping[str, Any]) -> list[str]:
    asked, reached = result["asked"], result["reached"]
    if asked["rate"] == "max":
        lines = [f"reached {reached['rate']:,.1f} requests/s with the wanted answer, by {_hands(asked)}"]
        lines.append("without a schedule latency is service time: a server that stands still is asked less meanwhile")
    else:
        rates = f"asked {asked['rate']:,g} requests/s, started {reached['started_rate']:,.1f}"
        lines = [f"{rates}, reached {reached['rate']:,.1f} with the wanted answer ({reached['share']:.2%})"]
        if reached["not_started"] and not reached["rate_reached"] and not reached["stopped"]:
            lines.append(f"THE RATE WAS NOT REACHED: {reached['not_started']:,} of {reached['planned']:,} requests "
                         "were never started; they count with the time they waited")
        if reached["held_up"]:
            lines.append(f"{reached['held_up']:,} requests started late because all {asked['concurrency']} hands "
                         "were full (--concurrency)")
    if reached["stopped"]:
        lines.append(f"stopped by a signal after {reached['seconds']:g} s of {asked['duration_s']:g} s")
    return lines


def _hands(asked: Mapping[str, Any]) -> str:
    if not asked.get("users"):
        return f"{asked['concurrency']} hands"
    return f"{asked['users']} users" + (f" who think {asked['think_s']:g} s" if asked["think_s"] else "")


def _answers(result: Mapping[str, Any]) -> list[str]:
    reached = result["reached"]
    statuses = ", ".join(f"{status} {count:,}" for status, count in sorted(result["statuses"].items()))
    lines = [(f"{reached['started']:,} requests: {reached['ok']:,} ok, {reached['errors']:,} errors "
             f"({reached['error_share']:.2%}); answers {statuses or 'none'}; "
             f"at most {reached['most_in_flight']} under way")]
    lines += [
        f"  {count:>9,}  {code}" for code, count in sorted(result["error_codes"].items(), key=lambda one: -one[1])
    ]
    return lines


def _verdict(threshold: Threshold, result: Mapping[str, Any]) -> str:
    found = threshold.found(result)
    shown = "nothing measured" if found is None else f"{found:,.4g}{threshold.unit}"
    return f"{'ok    ' if threshold.holds(result) else 'MISSED'}  {threshold.text}: {shown}"


def ms(value: float | None) -> str:
    """Milliseconds with three digits that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value >= 100 else f"{value:.2f}"
