"""Reads all files of a report, each into its section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.bench.bench_result import read_result
from sender.report.bench_section import bench_section
from sender.report.reading import is_bench, read_outcomes
from sender.report.run_section import run_section
from sender.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sender.report.job_table import Unsent
    from sender.report.section import Section


def make_sections(
    paths: Iterable[Path], limit: float | None, tell_unsent: Callable[[Unsent], None] | None = None
) -> list[Section]:
    """One section for each file, in the order given; UsageError for the first that is neither log nor result.

    `tell_unsent` gets every job of the logs that was not sent.
    """
    return [_section(path, index, limit, tell_unsent) for index, path in enumerate(paths, 1)]


def _section(path: Path, index: int, limit: float | None, tell_unsent: Callable[[Unsent], None] | None) -> Section:
    name = clean(path.name, 80)
    if is_bench(path):
        return bench_section(name, read_result(path), index)
    return run_section(name, read_outcomes(path, tell_unsent), index, limit)
