"""Requests are counted when they were written, once each; what did not run is drawn as a gap."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.report.outcome_figures import OutcomeFigures
from sender.report.plots import draw
from sender.report.run_section import run_section
from sender.report.seen_requests import RECENT, SeenRequests
from sender.report.time_axis import TimeAxis
from sender.report.timeline import MOST_SPANS, QUIET
from tests.report.logs import error, line, stamp

if TYPE_CHECKING:
    from sender.report.section import Chart, Section


def figures_of(lines: list[dict[str, Any]]) -> OutcomeFigures:
    figures = OutcomeFigures()
    for one in lines:
        assert figures.add(one)
    figures.close()
    return figures


def section_of(lines: list[dict[str, Any]]) -> Section:
    return run_section("log", figures_of(lines), 1, 100.0)


def written(number: int, at: float, **more: Any) -> dict[str, Any]:
    return line(number, at=at, latency=20.0, **{"written_at": stamp(at), **more})


def curve(section: Section, title: str, name: str) -> list[tuple[float, float | None]]:
    chart = next(one for one in section.charts if one.title == title)
    values = next(one.values for one in chart.curves if one.name == name)
    return list(zip(chart.x, values, strict=True))


def test_the_busiest_second_is_that_of_the_writes() -> None:
    """Counted at their starts it showed 102 above a limit of 100 that was never passed."""
    starts = [written(n, at=1 + n / 100, started_at=stamp(0.9 if n < 2 else 1 + n / 100)) for n in range(100)]
    late = [written(100 + n, at=2.0 + n / 100, started_at=stamp(1.99)) for n in range(2)]
    assert figures_of(starts + late).timeline.busiest == 100
    old = [{key: value for key, value in one.items() if key != "written_at"} for one in late + starts[2:]]
    assert figures_of(old).timeline.busiest == 100, "an older log knows starts alone"


def test_what_was_never_written_is_no_request() -> None:
    refused = error("connect_failed", "no connection")
    lines = [line(n, "failed", at=0.0, latency=None, http_status=None, attempts=5, **refused) for n in range(9)]
    assert figures_of(lines).timeline.busiest == 0
    once = [written(20, at=5.0), line(21, "failed", at=5.0, latency=None, http_status=None, **error("odd", "m"))]
    assert figures_of(once).timeline.busiest == 1, "this log tells the others"


def test_a_change_of_fate_is_no_request() -> None:
    doubt = written(1, at=3.0, status="in_doubt", latency_ms=None)
    adopted = {**doubt, "status": "sent", "finished_at": stamp(90)}
    old = {**doubt, "id": "old", "written_at": None}
    broadcast = written(2, at=4.0, kind="broadcast")
    lines = [doubt, old, broadcast, *(written(n, at=5 + n / 100) for n in range(10, RECENT + 100)), adopted,
             {**old, "status": "sent"}, {**broadcast, "latency_ms": None, **error("api_error", "late")}]
    figures = figures_of(lines)
    assert figures.attempts == RECENT + 93
    assert figures.by_status()["sent"] == RECENT + 93
    again = figures_of([doubt, written(1, at=60.0)])
    assert again.attempts == 2, "a new request of the same job is one"


def test_lines_that_a_crash_repeated_count_once() -> None:
    lines = [written(n, at=n / 100) for n in range(300)]
    figures = figures_of([*lines, *lines[-100:], *(written(n, at=9 + n / 100) for n in range(300, 400))])
    assert figures.attempts == figures.jobs == figures.latency_ms.count == 400


def test_few_requests_are_remembered() -> None:
    seen = SeenRequests()
    assert all(seen.is_new(str(n).encode(), "t", lasting=False) for n in range(3 * RECENT))
    assert len(seen._recent) == RECENT


def run_of(begin: float, seconds: int, first: int) -> list[dict[str, Any]]:
    return [written(first + n, at=begin + n / 10) for n in range(10 * seconds)]


@pytest.mark.parametrize("away", [QUIET, 60, 3600, 86_400])
def test_a_restart_is_a_gap(away: int) -> None:
    section = section_of([*run_of(0, 20, 0), *run_of(20 + away, 20, 1000)])
    for title, name in (("Rate", "requests per second"), ("Latency over time", "p50")):
        values = curve(section, title, name)
        assert values.count((20.0, None)) == 1
        assert 0 not in [value for _, value in values]
        assert next(at for at, value in values if at > 20) == 20 + away
    rate: Chart = section.charts[0]
    assert rate.pauses == ((20.0, 20.0 + away),)
    assert "Nothing was written from 23:56:41" in rate.note
    assert "Nothing was written for" in rate.told


def test_an_outage_within_a_run_is_no_gap() -> None:
    """A job that was tried before and after it shows that the run went on: nothing was written, and that is told."""
    retried = written(5000, at=80.0, attempts=4, started_at=stamp(20.5))
    section = section_of([*run_of(0, 20, 0), retried, *run_of(80, 20, 1000)])
    assert section.charts[0].pauses == ()
    assert (20.0, 0.0) in curve(section, "Rate", "requests per second")
    assert (79.0, 0.0) in curve(section, "Rate", "requests per second")


def test_requests_far_apart_are_no_pauses() -> None:
    section = section_of([written(n, at=10.0 * n) for n in range(30)])
    assert section.charts[0].pauses == ()
    assert section_of([written(1, at=0.0)]).charts[0].pauses == ()


def test_many_outages_take_little_memory() -> None:
    figures = figures_of([written(n, at=10.0 * n + 5, attempts=2, started_at=stamp(10.0 * n)) for n in range(3000)])
    assert len(figures.timeline._alive) <= MOST_SPANS + 1


@given(
    lengths=st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e6)), max_size=8), last=st.floats(1, 1e5),
)
def test_the_axis_keeps_order_and_cuts_pauses(lengths: list[tuple[float, float]], last: float) -> None:
    pauses, at = [], 0.0
    for ran, paused in lengths:
        pauses.append((at + ran, at + ran + paused))
        at += ran + paused
    axis = TimeAxis(at + last, pauses)
    edges = [0.0, *(edge for pause in pauses for edge in pause), at + last]
    places = [axis.place(edge) for edge in edges]
    assert places == sorted(places)
    ran = last + sum(length for length, _ in lengths)
    assert places[-1] <= ran + max(ran / 4, len(pauses)) + 1e-3
    ticks = [place for place, _ in axis.ticks()]
    assert ticks[0] == 0
    assert len(ticks) <= 10
    assert all(other - one >= places[-1] * 0.1 for one, other in pairwise(ticks))


def test_a_gap_is_drawn_as_one() -> None:
    whole = section_of(run_of(0, 40, 0)).charts[0]
    parted = section_of([*run_of(0, 20, 0), *run_of(80, 20, 1000)]).charts[0]
    lines = [draw(chart)[0].count("stroke: var(--first)") for chart in (whole, parted)]
    assert lines == [1, 2]
    assert not math.isnan(TimeAxis(100.0, parted.pauses).place(50))
