"""The section of an outcome log. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sender.report.fate_section import arrival_chart, fate_facts, fate_tables, flow_of
from sender.report.job_table import NOT_SENT
from sender.report.run_figures import RunFigures
from sender.report.run_history import history_facts, history_table
from sender.report.section import Bar, Chart, Curve, Fact, Section, Table
from sender.report.timeline import filled
from sender.report.words import clean, ms, number, per_second, share, span

if TYPE_CHECKING:
    from sender.report.outcome_figures import OutcomeFigures
    from sender.report.section import Tone
    from sender.report.timeline import Step

TONES: Final[dict[str, Tone]] = {
    "sent": "good", "invalid": "third", "rejected": "bad", "failed": "bad", "in_doubt": "second", "duplicate": "quiet",
    "skipped": "quiet",
}
MOST_POINTS: Final = 600
MOST_ROWS: Final = 40
PERCENTS: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999)
MOST_ERRORS: Final = 40
MOST_PAUSES: Final = 5
COUNTED: Final = (
    "Counted when the last request of each job was written; its earlier attempts stand as retries, which the log does "
    "not time."
)


def run_section(name: str, figures: OutcomeFigures, index: int, limit: float | None) -> Section:
    """Everything that the log of one run tells."""
    return section_of(RunFigures(name, figures), index, limit)


def section_of(run: RunFigures, index: int, limit: float | None) -> Section:
    """Everything that is known of one run."""
    figures, fates, statuses = run.outcomes, run.fates, run.outcomes.by_status()
    charts = [_rate(figures, index, limit), _latency(figures, index), _percentiles(figures, index)]
    tables = [_errors(figures), _warnings(figures), _doubts(figures), history_table(run.manifest), _unsent(figures),
              _slowest(figures)]
    facts = (*_facts(figures), *history_facts(run.manifest))
    if fates is not None:
        charts = [arrival_chart(fates, index), *charts]
        tables = [*fate_tables(fates), *tables]
        facts = (*facts, *fate_facts(fates))
    bars = tuple(Bar(status, count, TONES.get(status, "quiet")) for status, count in statuses.items() if count)
    flow = flow_of(statuses, TONES, fates, index)
    return Section(
        run.name, _subtitle(figures), facts, () if flow else bars,
        tuple(chart for chart in charts if chart is not None), tuple(table for table in tables if table.rows),
        _notes(figures), flow,
    )


def _subtitle(figures: OutcomeFigures) -> str:
    kinds = ", ".join(f"{number(count)} {kind}" for kind, count in figures.kinds.most_common(6))
    if figures.first is None:
        return kinds
    begin = datetime.fromtimestamp(figures.first, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{begin}, {span((figures.last or 0) - figures.first)}; lines of {kinds}"


def _facts(figures: OutcomeFigures) -> tuple[Fact, ...]:
    statuses = figures.by_status()
    latency = figures.latency_ms
    p50, p99 = latency.percentiles((50, 99))
    bad = statuses["rejected"] + statuses["failed"] + statuses["in_doubt"] + statuses["invalid"]
    facts = [
        Fact("jobs", number(figures.jobs)),
        Fact(f"sent, {share(statuses['sent'], figures.jobs)}", number(statuses["sent"]), "good"),
        Fact("not sent", number(bad), "bad" if bad else "quiet"),
        Fact("requests", number(figures.attempts)),
        Fact("retries", number(figures.retries), "second" if figures.retries else "quiet"),
        Fact("ended by 429", number(figures.http_429), "bad" if figures.http_429 else "quiet"),
    ]
    if figures.warnings["draft"]:
        facts.append(Fact("drafts that wait for a person", number(figures.warnings["draft"]), "second"))
    if figures.timeline.busiest:
        facts.append(Fact("busiest second", number(figures.timeline.busiest)))
    if latency.count:
        facts += [Fact("latency p50", ms(p50)), Fact("latency p99", ms(p99)), Fact("latency max", ms(latency.most))]
    return tuple(facts)


def _rate(figures: OutcomeFigures, index: int, limit: float | None) -> Chart | None:
    if not figures.timeline:
        return None
    width, steps = figures.timeline.steps(MOST_POINTS)
    pauses = figures.timeline.pauses(width, steps)
    points = list(filled(width, steps, pauses))
    rates = tuple(None if step is None else step.requests / width for _, step in points)
    curves = [Curve("requests per second", "first", rates, "step")]
    curves += _trouble(points, width)
    told = f"Requests per second over the time of the run: at most {per_second(max(filter(None, rates), default=0))}"
    told += f" in a step of {width} s" if width > 1 else ""
    told += f", the limit is {per_second(limit)}." if limit else "."
    told += "".join(f" Nothing was written for {span(end - begin)} from {span(begin)} on." for begin, end in pauses[:3])
    coarse, rows = figures.timeline.steps(MOST_ROWS)
    table = Table(f"Steps of {coarse} s", ("from", "requests/s", "retries", "429"),
                  tuple((span(at), f"{step.requests / coarse:.1f}", number(step.retries), number(step.http_429))
                        for at, step in rows))
    return Chart(f"rate-{index}", "Rate", told, tuple(at for at, _ in points), "per second", tuple(curves), table,
                 width=width, limit=limit, pauses=tuple(pauses), note=" ".join([COUNTED, *_paused(figures, pauses)]))


def _paused(figures: OutcomeFigures, pauses: list[tuple[float, float]]) -> list[str]:
    """What there is to say of stretches in which nothing was written."""
    if not pauses:
        return []
    shown = [
        f"{_clock(figures.timeline.start + begin)} to {_clock(figures.timeline.start + end)} ({span(end - begin)})"
        for begin, end in pauses[:MOST_PAUSES]
    ]
    more = f" and {len(pauses) - MOST_PAUSES} more" if len(pauses) > MOST_PAUSES else ""
    told = f"Nothing was written from {', '.join(shown)}{more}"
    return [f"{told}: between two runs, or in an outage. Long pauses are drawn shorter."]


def _clock(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%H:%M:%S")


def _trouble(points: list[tuple[float, Step | None]], width: int) -> list[Curve]:
    retries = tuple(step.retries / width if step else None for _, step in points)
    refused = tuple(step.http_429 / width if step else None for _, step in points)
    curves = [Curve("retries per second", "second", retries, "bars"), Curve("429 per second", "bad", refused, "bars")]
    return [curve for curve in curves if any(curve.values)]


def _latency(figures: OutcomeFigures, index: int) -> Chart | None:
    if not figures.latency_ms.count:
        return None
    width, steps = figures.timeline.steps(MOST_POINTS)
    pauses = figures.timeline.pauses(width, steps)
    breaks: list[tuple[float, Step | None]] = [(begin, None) for begin, _ in pauses]
    points = sorted([*steps, *breaks], key=lambda point: point[0])
    values = [step.latency_ms.percentiles((50, 90, 99)) if step else (None, None, None) for _, step in points]
    columns = tuple(zip(*values, strict=True))
    tones: tuple[Tone, ...] = ("first", "third", "second")
    curves = tuple(Curve(name, tone, column)
                   for name, tone, column in zip(("p50", "p90", "p99"), tones, columns, strict=True))
    p50, p99 = figures.latency_ms.percentiles((50, 99))
    coarse, rows = figures.timeline.steps(MOST_ROWS)
    table = Table(f"Steps of {coarse} s", ("from", "p50", "p90", "p99", "max"),
                  tuple((span(at), *map(ms, step.latency_ms.percentiles((50, 90, 99))), ms(step.latency_ms.most))
                        for at, step in rows if step.latency_ms.count))
    told = f"Latency over the time of the run; over all of it p50 is {ms(p50)} and p99 {ms(p99)}."
    return Chart(f"latency-{index}", "Latency over time", told, tuple(at for at, _ in points), "ms", curves, table,
                 pauses=tuple(pauses), note="From the last attempt's write to its answer.")


def _percentiles(figures: OutcomeFigures, index: int) -> Chart | None:
    total = figures.latency_ms.count
    if not total:
        return None
    percents = tuple(percent for percent in PERCENTS if percent <= 100 - 100 / total or percent == PERCENTS[0])
    values = tuple(figures.latency_ms.percentiles(percents))
    rows = tuple((f"{percent:g} %", ms(value)) for percent, value in zip(percents, values, strict=True))
    table = Table(
        "Latency by percentile", ("of all answers", "within"), (*rows, ("100 %", ms(figures.latency_ms.most)))
    )
    told = f"Latency by percentile of {number(total)} answers: " + ", ".join(f"{a} within {b}" for a, b in table.rows)
    return Chart(f"percentiles-{index}", "Latency by percentile", f"{told}.", percents, "ms",
                 (Curve("latency", "first", values),), table, axis="percentile")


def _errors(figures: OutcomeFigures) -> Table:
    rows = tuple(
        (code, number(count), status, *_example(figures, code))
        for code, status, count in figures.by_code()[:MOST_ERRORS]
    )
    return Table("Errors by code", ("code", "jobs", "status", "for example", "message"), rows, words=(0, 2, 3, 4))


def _warnings(figures: OutcomeFigures) -> Table:
    rows = tuple(
        (code, number(count), figures.warned[code].job, figures.warned[code].message)
        for code, count in figures.warnings.most_common(MOST_ERRORS)
    )
    return Table("Warnings by code", ("code", "warnings", "for example", "message"), rows, words=(0, 2, 3))


def _example(figures: OutcomeFigures, code: str) -> tuple[str, str]:
    example = figures.examples.get(code)
    return (example.job, example.message) if example else ("–", "–")


def _doubts(figures: OutcomeFigures) -> Table:
    rows = tuple(
        (code, "still in doubt" if status == "in_doubt" else status, number(jobs))
        for code, status, jobs in figures.doubts
    )
    note = "Every job that was in doubt at any time, by what made it so, and what holds of it now."
    return Table("Doubts and what they became", ("why", "became", "jobs"), rows, words=(0, 1), note=note)


def _unsent(figures: OutcomeFigures) -> Table:
    jobs = figures.unsent
    total = sum(count for (status, _), count in figures.fates.items() if status in NOT_SENT)
    note = ""
    if total > len(jobs):
        note = f"The first {number(len(jobs))} of {number(total)}; sender report --unsent FILE writes them all."
    head = ("job", "status", "code", "at (UTC)", "line", "message")
    rows = tuple((clean(job.job, 64), job.status, job.code, job.at[:19].replace("T", " "),
                  clean(f"{job.source}:{job.line}", 80), job.message) for job in jobs)
    return Table("Jobs that were not sent", head, rows, words=(0, 1, 2, 4, 5), note=note,
                 groups=tuple(f"{job.status}: {job.code or 'no code'}" for job in jobs))


def _slowest(figures: OutcomeFigures) -> Table:
    rows = tuple((slow.job, ms(slow.latency_ms), number(slow.attempts), slow.kind, slow.place)
                 for slow in figures.slowest)
    return Table("Slowest jobs", ("job", "latency", "attempts", "kind", "line"), rows, words=(0, 3, 4))


def _notes(figures: OutcomeFigures) -> tuple[str, ...]:
    if not figures.unreadable:
        return ()
    lines = f"{number(figures.unreadable)} lines are no outcomes that this version knows and were passed over"
    return (f"{lines}; a torn last line is repaired by the next run.",)
