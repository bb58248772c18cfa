"""`sender validate`: checks everything, sends nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.cli.arguments import add_settings
from sender.cli.send import INPUT_HELP, inputs_of, reading_of
from sender.cli.send import TEXTS as SEND_TEXTS
from sender.config.load import load
from sender.config.settings import SETTINGS
from sender.errors import InputError
from sender.inputs.duplicate_index import DuplicateIndex
from sender.inputs.inputs import all_lines
from sender.jobs.job import Invalid, Job
from sender.jobs.problem import Problem
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from sender.config.settings import Settings
    from sender.jobs.job import Line

HELP: Final = (
    "Check every job, send nothing, and print each problem with file, line and field; exit 1 if any is invalid."
)
TEXTS: Final = {
    "json": "print one JSON object for each job with a problem or a warning",
    "limit": "check so many jobs only; 0 = all",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help=INPUT_HELP)
    rows = [name for name, setting in SETTINGS.items() if setting.table == "input"]
    names = ("kind", "limit", *rows, "identity", "json", "require_identifiers", "risky_extensions")
    add_settings(parser, names, texts=SEND_TEXTS | TEXTS)


def run(args: argparse.Namespace) -> int:
    """Check, and return 1 if any job is invalid; what was read of a broken input is told before its InputError."""
    settings = load(vars(args))
    inputs = inputs_of(args.inputs)
    reading = reading_of(settings, check_files=True)
    show = _show_json if settings.json else _show_text
    counts: Counter[str] = Counter()
    try:
        for checked in _check(islice(all_lines(inputs, reading), settings.limit or None), settings):
            counts.update(checked.headings())
            show(checked)
    except InputError:
        _tell(counts)
        raise
    _tell(counts)
    return 1 if counts["invalid"] else 0


class _Checked(NamedTuple):
    """One line and what is to be said of it."""

    line: Line
    found: Job | Invalid
    problems: tuple[Problem, ...]
    repeated: bool
    """It is the same as an earlier line."""

    def headings(self) -> list[str]:
        """What the line counts as."""
        marks = {"invalid": self.problems, "duplicate": self.repeated, "warned": self.found.warnings}
        return ["read", *(name for name, is_so in marks.items() if is_so)]


def _check(lines: Iterator[Line], settings: Settings) -> Iterator[_Checked]:
    parser = Parser(settings.kind, Options(settings.require_identifiers, frozenset(settings.risky_extensions)))
    seen = DuplicateIndex()
    for line in lines:
        found = parser.parse(line, time.time())
        yield _Checked(line, found, *_problems(found, seen))


def _problems(found: Job | Invalid, seen: DuplicateIndex) -> tuple[tuple[Problem, ...], bool]:
    """What is wrong with it, and whether it is the same as an earlier line."""
    if isinstance(found, Invalid):
        return found.problems, False
    before = seen.add(found)
    if before is None:
        return (), False
    if before == found.content:
        return (), True
    return (Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id"),), False


def _tell(counts: Counter[str]) -> None:
    sys.stderr.write(
        f"{counts['read']:,} jobs: {counts['invalid']:,} invalid, {counts['duplicate']:,} duplicate, "
        f"{counts['warned']:,} with warnings\n"
    )


def _show_text(checked: _Checked) -> None:
    line = checked.line
    place = f"{line.source}:{line.number}" if line.row is None else f"{line.source} row {line.number}"
    for problem in checked.problems:
        sys.stdout.write(f"{place}: {_field(problem)}{problem.message} [{problem.code}]\n")
    for warning in checked.found.warnings:
        sys.stdout.write(f"{place}: warning: {_field(warning)}{warning.message} [{warning.code}]\n")
    if checked.repeated:
        sys.stdout.write(f"{place}: warning: the same job stands above; it is sent once [duplicate]\n")


def _field(problem: Problem) -> str:
    """The field, and the column where it is not named in the sentence."""
    field = f"{problem.field}: " if problem.field and not problem.message.startswith(problem.field) else ""
    column = problem.column if problem.column and f"column {problem.column}" not in problem.message else None
    return f"column {column}: {field}" if column else field


def _show_json(checked: _Checked) -> None:
    line, found, problems, repeated = checked
    if not problems and not found.warnings and not repeated:
        return
    record: dict[str, Any] = {
        "source": line.source,
        "line": line.number,
        "id": found.id,
        "kind": found.kind.name if isinstance(found, Job) else found.kind,
        "valid": not problems,
        "duplicate": repeated,
        "problems": [problem._asdict() for problem in problems],
        "warnings": [warning._asdict() for warning in found.warnings],
    }
    sys.stdout.write(orjson.dumps(record).decode() + "\n")
