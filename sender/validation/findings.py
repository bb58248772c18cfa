"""A Report gathers all that the checks find in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.problem import CLEAN, Findings, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_WARNINGS: Final = 20
MOST_PROBLEMS: Final = 100
"""What comes after these is counted, so that a line of millions of faults does not become millions of sentences."""
_LAST: Final = frozenset({"wrong_type", "missing_field", "empty_field", "empty_audience", "null_field"})
"""After one of these nothing more has to be said of the field."""


class Report:
    """Problems and warnings in the order in which they are found; of one fault one is told."""

    __slots__ = ("_omitted_problems", "_omitted_warnings", "_problems", "_warnings")

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._omitted_problems = 0
        self._omitted_warnings = 0

    @property
    def has_problems(self) -> bool:
        """Whether the job cannot be sent."""
        return bool(self._problems)

    @property
    def has_warnings(self) -> bool:
        """Whether somebody should look."""
        return bool(self._warnings)

    @property
    def takes_problems(self) -> bool:
        """Whether the next problem is told, and not only counted: a costly sentence need not be made otherwise."""
        return len(self._problems) < MOST_PROBLEMS

    @property
    def takes_warnings(self) -> bool:
        """The same for warnings."""
        return len(self._warnings) < MOST_WARNINGS

    def problem(self, code: str, field: str | None, message: str) -> None:
        """The job cannot be sent."""
        if self.takes_problems:
            self._problems.append(Problem(code, field, message))
        else:
            self._omitted_problems += 1

    def warn(self, code: str, field: str | None, message: str) -> None:
        """The job is sent, and somebody should look."""
        if self.takes_warnings:
            self._warnings.append(Problem(code, field, message))
        else:
            self._omitted_warnings += 1

    def require(self, values: Mapping[str, Any], name: str) -> None:
        """This field must be there and not be empty."""
        value = values.get(name)
        if value is None:
            self.problem("missing_field", name, f"{name} is missing; the API requires it")
        elif value == "" and type(value) is str:
            self.problem("empty_field", name, f"{name} is empty; the API requires it")

    def findings(self) -> Findings:
        """All of it."""
        if not self._problems and not self._warnings:
            return CLEAN
        problems = _once(self._problems)
        told = {problem.field for problem in problems}
        warnings = _once([warning for warning in self._warnings if warning.field is None or warning.field not in told])
        return Findings(
            _with_count(problems, "more_problems", self._omitted_problems),
            _with_count(warnings, "more_warnings", self._omitted_warnings),
        )


def _once(found: list[Problem]) -> list[Problem]:
    """Without what follows from a field that is missing, null, empty or of the wrong type."""
    kept: list[Problem] = []
    seen: set[str] = set()
    done: set[str] = set()
    for problem in found:
        code, field = problem.code, problem.field
        if field not in done and not (code == "null_field" and field in seen):
            kept.append(problem)
        if field is not None:
            seen.add(field)
            if code in _LAST:
                done.add(field)
    return kept


def _with_count(told: list[Problem], code: str, omitted: int) -> tuple[Problem, ...]:
    if not omitted:
        return tuple(told)
    return (*told, Problem(code, None, f"there are {omitted:,} more, which are not listed"))
