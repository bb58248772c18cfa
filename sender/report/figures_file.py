"""The figures of all runs as CSV, one to a line, for spreadsheets and scripts: plain numbers, no personal data."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from sender.report.cells import cell
from sender.report.run_history import restarts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.report.fate_figures import FateFigures
    from sender.report.run_figures import RunFigures

HEAD = ("run", "part", "of", "figure", "value")


def figures_csv(runs: Sequence[RunFigures]) -> str:
    """The whole file; times in milliseconds or seconds, as the figure's name says."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(HEAD)
    for run in runs:
        for part, of, figure, value in _figures(run):
            writer.writerow((cell(run.name), part, cell(of), figure, value))
    return target.getvalue()


def _figures(run: RunFigures) -> Iterator[tuple[str, str, str, float]]:
    figures = run.outcomes
    yield "jobs", "", "all", figures.jobs
    for status, count in figures.by_status().items():
        yield "jobs", "", status, count
    for name in ("attempts", "retries", "http_429"):
        yield "requests", "", name, getattr(figures, name)
    yield "requests", "", "busiest_second", figures.timeline.busiest or 0
    if figures.latency_ms.count:
        for percent, value in zip((50, 90, 99), figures.latency_ms.percentiles((50, 90, 99)), strict=True):
            yield "latency", "", f"p{percent}_ms", round(value or 0.0, 2)
    for code, status, count in figures.by_code():
        yield "code", code, status, count
    for code, status, count in figures.doubts:
        yield "doubt", code, status, count
    again = restarts(run.manifest)
    if again is not None:
        yield "run", "", "restarts", again
    if run.fates is not None:
        yield from _fates(run.fates)


def _fates(fates: FateFigures) -> Iterator[tuple[str, str, str, float]]:
    yield "deliveries", "", "all", fates.followed
    for name, count in (fates.fates | fates.marks).items():
        yield "deliveries", "", name, count
    for kind, count in fates.bounces.items():
        yield "bounces", "", kind, count
    if fates.seconds.count:
        for percent, value in zip((50, 90, 99), fates.seconds.percentiles((50, 90, 99)), strict=True):
            yield "time to delivery", "", f"p{percent}_s", round(value or 0.0, 3)
    for one in fates.domains:
        for name in ("deliveries", "delivered", "hard", "soft", "other", "dropped"):
            yield "domain", one.domain, name, getattr(one, name)
