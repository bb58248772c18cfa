"""What the checks find in a row's job, told with the column that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.jobs.job import Invalid, Job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.jobs.job import Row
    from sender.jobs.problem import Problem


def of_row(found: Job | Invalid, row: Row) -> Job | Invalid:
    """The same with the row's columns and files."""
    warnings = _with_columns(found.warnings, row.columns) if found.warnings else ()
    if isinstance(found, Invalid):
        return found._replace(problems=_with_columns(found.problems, row.columns), warnings=warnings)
    if not warnings and row.files is None:
        return found
    return found._replace(warnings=warnings, files=row.files)


def _with_columns(problems: tuple[Problem, ...], columns: Mapping[str, str]) -> tuple[Problem, ...]:
    return tuple(
        problem if problem.field is None else problem._replace(column=column_of(problem.field, columns))
        for problem in problems
    )


def column_of(field: str, columns: Mapping[str, str]) -> str | None:
    """The column of a field; of an object or a list the columns of all that is in it, of a part that of the whole."""
    if field in columns:
        return columns[field]
    bare = field.partition("[")[0]
    below = [column for path, column in columns.items() if path.startswith((f"{bare}.", f"{bare}["))]
    above = [column for path, column in columns.items() if field.startswith((f"{path}.", f"{path}["))]
    return ", ".join(dict.fromkeys([*above, *below])) or None
