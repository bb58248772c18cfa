"""The Preview of a run: some jobs in full, some that would not be sent with the reason, and counts of all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.errors import UsageError
from sender.inputs.inputs import all_lines, open_inputs
from sender.inputs.streams import StreamInput
from sender.jobs.job import Invalid
from sender.jobs.payload import read_payload
from sender.jobs.problem import Problem
from sender.send.forecast import Forecast, Foreseen
from sender.send.preview.indented import indented

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.jobs.job import Job, Line
    from sender.outcomes.summary import Books
    from sender.send.send_plan import SendPlan

COUNTS: Final = (
    ("would be sent", "not_started"), ("refused by a check", "invalid"), ("kept out by your rules", "skipped"),
    ("duplicate or sent before", "duplicate"), ("rejected before", "rejected"), ("in doubt", "in_doubt"),
)


class Shown(NamedTuple):
    """One job, or what is wrong with its line."""

    place: str
    id: str | None
    kind: str | None
    status: str
    request: str = ""
    """Method and path."""
    template: str = ""
    """Its number or name, and its title where the API told it."""
    body: str = ""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


class Preview(NamedTuple):
    """All that is shown."""

    title: str
    jobs: tuple[Shown, ...]
    unsent: tuple[Shown, ...]
    counts: tuple[tuple[str, int], ...] = ()
    """(heading, lines); empty where only one row was looked at."""
    seconds: float = 0.0
    """How long all that would be sent takes at the limits."""
    rate: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        shown = self._asdict()
        shown["jobs"] = [_as_json(one) for one in self.jobs]
        shown["unsent"] = [_as_json(one) for one in self.unsent]
        return shown | {"counts": dict(self.counts)}


def look_at_all(plan: SendPlan, number: int, names: Mapping[int, str]) -> Preview:
    """The first jobs that would be sent, the first that would not, and counts of all lines."""
    forecast = Forecast(plan)
    jobs: list[Shown] = []
    unsent: list[Shown] = []
    for line in all_lines(plan.inputs, replace(plan.reading, check_files=True)):
        foreseen = forecast.see(line)
        shown = jobs if foreseen.status is None else unsent
        if len(shown) < number and foreseen.status != "duplicate":
            shown.append(_shown(line, foreseen, names))
    return Preview(
        _title(plan), tuple(jobs), tuple(unsent), _counts(forecast.books), forecast.seconds, plan.settings.rate
    )


def look_at_row(plan: SendPlan, row: int, names: Mapping[int, str]) -> Preview:
    """One row alone; the others are not even checked. UsageError when there is no such row."""
    line = _find(plan, row)
    foreseen = Forecast(plan).see(line)
    one = (_shown(line, foreseen, names),)
    title = f"{_title(plan)}, row {row:,}"
    return Preview(title, one, ()) if foreseen.status is None else Preview(title, (), one)


def _find(plan: SendPlan, row: int) -> Line:
    if len(plan.inputs) != 1:
        raise UsageError("--row is of one input; name that one alone")
    inputs = open_inputs(plan.inputs, replace(plan.reading, check_files=True))
    try:
        (source,) = inputs.files
        if isinstance(source, StreamInput):
            raise UsageError("--row needs a file: a stream cannot be looked into")
        line = source.line_at(row)
    finally:
        for one in inputs.files:
            one.close()
    if line is None:
        raise UsageError(f"{plan.inputs[0]} has no row {row:,}")
    return line


def _counts(books: Books) -> tuple[tuple[str, int], ...]:
    found = [(heading, books.not_started if name == "not_started" else books.statuses[name])
             for heading, name in COUNTS]
    return (("read", books.read), *((heading, count) for heading, count in found if count or heading == COUNTS[0][0]))


def _title(plan: SendPlan) -> str:
    return ", ".join(plan.inputs)


def _shown(line: Line, foreseen: Foreseen, names: Mapping[int, str]) -> Shown:
    found = foreseen.found
    place = f"{line.source}:{line.number}"
    if isinstance(found, Invalid):
        return Shown(place, found.id, found.kind, "invalid", problems=found.problems, warnings=found.warnings)
    body, problems = _body(found)
    return Shown(
        place, found.id, found.kind.name, foreseen.status or "would be sent", f"{found.kind.method} {found.path}",
        _template(found, names), body, (*foreseen.problems, *problems), found.warnings,
    )


def _body(job: Job) -> tuple[str, tuple[Problem, ...]]:
    """The body with the job's files in it, as it would be sent now."""
    made = job.body if job.files is None else job.files.read_into(job.body)
    return (indented(job.body), (made,)) if isinstance(made, Problem) else (indented(made), ())


def _template(job: Job, names: Mapping[int, str]) -> str:
    template = read_payload(job.body).get("transactional_message_id") if job.kind.lane == "send" else None
    if template is None:
        return ""
    name = names.get(template) if isinstance(template, int) else None
    return str(template) if name is None else f"{template}, {name}"


def _as_json(one: Shown) -> dict[str, Any]:
    problems, warnings = ([each._asdict() for each in found] for found in (one.problems, one.warnings))
    return one._asdict() | {"problems": problems, "warnings": warnings}
