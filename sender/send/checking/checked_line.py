"""A CheckedLine is what is to be said of one line, but for what earlier lines make of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from sender.jobs.job import Invalid

if TYPE_CHECKING:
    from sender.inputs.line_batch import LineBatch
    from sender.jobs.problem import Problem
    from sender.validation.parser import Parser


class CheckedLine(NamedTuple):
    """One line; it holds nothing of a payload."""

    source: str
    number: int
    of_row: bool
    """Whether the number counts the rows of a table."""
    id: str | None
    kind: str | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    key: str = ""
    """The job's identity; none of a line that is invalid."""
    content: str = ""
    repeated: bool = False
    """It is the same as an earlier line."""


def check_batch(parser: Parser, batch: LineBatch) -> list[CheckedLine]:
    """Check its lines as they stand now, one after another."""
    now, found = time.time(), []
    for line in batch.cut():
        job, of_row = parser.parse(line, now), line.row is not None
        if isinstance(job, Invalid):
            one = CheckedLine(line.source, line.number, of_row, job.id, job.kind, job.problems, job.warnings)
        else:
            one = CheckedLine(
                line.source, line.number, of_row, job.id, job.kind.name, (), job.warnings, job.key, job.content
            )
        found.append(one)
    return found
