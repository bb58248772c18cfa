"""Several runs side by side: a row for each. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.report.section import Section, Table
from sender.report.words import ms, number, seconds_told, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.report.run_figures import RunFigures

HEAD: Final = (
    "run", "jobs", "sent", "not sent", "in doubt", "requests", "retries", "429", "busiest second", "p50", "p99",
)
HEAD_FATES: Final = ("run", "delivered", "bounced", "dropped", "failed", "open", "arrived within, p50", "p99")
SUFFIX: Final = ".outcomes.jsonl"


def side_by_side(runs: Sequence[RunFigures]) -> Section:
    """The figures that matter of each run, in the order given."""
    tables = [Table("The runs", HEAD, tuple(map(_row, runs)))]
    if any(run.fates is not None for run in runs):
        tables.append(Table("What became of their deliveries", HEAD_FATES, tuple(map(_fates, runs))))
    return Section("Side by side", f"{number(len(runs))} runs, {number(sum(run.outcomes.jobs for run in runs))} jobs",
                   (), tables=tuple(tables))


def _row(run: RunFigures) -> tuple[str, ...]:
    figures, statuses = run.outcomes, run.outcomes.by_status()
    bad = statuses["rejected"] + statuses["failed"] + statuses["invalid"]
    p50, p99 = figures.latency_ms.percentiles((50, 99))
    return (
        run.name.removesuffix(SUFFIX), number(figures.jobs), share(statuses["sent"], figures.jobs), number(bad),
        number(statuses["in_doubt"]), number(figures.attempts), number(figures.retries), number(figures.http_429),
        number(figures.timeline.busiest or 0), ms(p50), ms(p99),
    )


def _fates(run: RunFigures) -> tuple[str, ...]:
    name = run.name.removesuffix(SUFFIX)
    if run.fates is None:
        return (name, *("–",) * (len(HEAD_FATES) - 1))
    counts, all_of = run.fates.fates, run.fates.followed
    shares = (share(counts[fate], all_of) for fate in ("delivered", "bounced", "dropped", "failed", "open"))
    return (name, *shares, *map(seconds_told, run.fates.seconds.percentiles((50, 99))))
