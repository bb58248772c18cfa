"""Reads all files of a report, each into its section."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sender.bench.bench_result import read_result
from sender.report.bench_section import bench_section
from sender.report.reading import is_bench, read_run
from sender.report.run_section import section_of
from sender.report.side_by_side import side_by_side
from sender.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sender.report.job_table import Unsent
    from sender.report.run_figures import RunFigures
    from sender.report.section import Section


class Report(NamedTuple):
    """What a report says, and the runs that it is about."""

    sections: list[Section]
    """One for each file, in the order given."""
    runs: list[RunFigures]

    @property
    def shown(self) -> list[Section]:
        """The sections, and before them the runs side by side where there are several."""
        return [side_by_side(self.runs), *self.sections] if len(self.runs) > 1 else self.sections


def make_report(
    paths: Iterable[Path], limit: float | None, tell_unsent: Callable[[Unsent], None] | None = None
) -> Report:
    """Read them; UsageError for the first that is neither log nor result.

    `tell_unsent` gets every job of the logs that was not sent.
    """
    report = Report([], [])
    for index, path in enumerate(paths, 1):
        name = clean(path.name, 80)
        if is_bench(path):
            report.sections.append(bench_section(name, read_result(path), index))
            continue
        run = read_run(path, name, tell_unsent)
        report.runs.append(run)
        report.sections.append(section_of(run, index, limit))
    return report


def make_sections(
    paths: Iterable[Path], limit: float | None, tell_unsent: Callable[[Unsent], None] | None = None
) -> list[Section]:
    """One section for each file."""
    return make_report(paths, limit, tell_unsent).sections
