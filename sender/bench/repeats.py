"""`--repeat`: one benchmark several times, as one result that knows how much its figures differ from run to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.bench.bench_result import make_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sender.bench.measures import Measures
    from sender.bench.plan import BenchPlan

FIGURES: Final = ("p50", "p90", "p99", "mean")


def repeated(
    plan: BenchPlan, times: int, started_at: str, measure: Callable[[BenchPlan], Measures]
) -> tuple[Measures, dict[str, Any]]:
    """(all measures in one, the result with a list of `repeats`); a signal or a halt ends it after that run."""
    first = measure(plan)
    result = make_result(plan, first, started_at)
    rows = [_row(result)]
    while len(rows) < times and not (first.stopped or first.halted):
        measures = measure(plan)
        rows.append(_row(make_result(plan, measures, started_at)))
        seconds = first.ran + measures.ran - plan.schedule.measured_from
        first.merge(measures)
        first.ran = seconds
    if len(rows) == 1:
        return first, result
    return first, {**make_result(plan, first, started_at), "series": result["series"], "repeats": rows}


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one run that are compared."""
    reached = result["reached"]
    return {"rate": reached["rate"], "error_share": reached["error_share"], "rate_reached": reached["rate_reached"],
            **{name: result["latency_ms"][name] for name in FIGURES}}
