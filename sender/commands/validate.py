"""`sender validate`: checks everything, sends nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.commands.options import add_settings
from sender.commands.send import inputs_of
from sender.config import load
from sender.errors import InputError
from sender.job import Invalid, Job
from sender.parsing import Parser
from sender.problem import Problem
from sender.seen import Seen
from sender.sources.files import InputFile
from sender.sources.inputs import open_inputs
from sender.validation import Options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from sender.job import Line

HELP: Final = (
    "Check every job, send nothing, and print each problem with file, line and field; exit 1 if any is invalid."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="a file of job lines, .gz too; - is stdin")
    add_settings(parser, ("kind", "json"))


def run(args: argparse.Namespace) -> int:
    """Check, and return 1 if any job is invalid."""
    settings = load(vars(args))
    options = Options(settings.require_identifiers, frozenset(settings.risky_extensions))
    parser = Parser(settings.kind, options)
    seen = Seen()
    read = invalid = warned = duplicate = 0
    broken: InputError | None = None
    show = _show_json if settings.json else _show_text
    try:
        for line in all_lines(inputs_of(args.inputs)):
            read += 1
            found = parser.parse(line, time.time())
            problems, repeated = _problems(found, seen)
            invalid += bool(problems)
            duplicate += repeated
            warned += bool(found.warnings)
            show(found, line, problems, repeated=repeated)
    except InputError as error:
        broken = error
    sys.stderr.write(f"{read:,} jobs: {invalid:,} invalid, {duplicate:,} duplicate, {warned:,} with warnings\n")
    if broken is not None:
        raise broken
    return 1 if invalid else 0


def all_lines(names: tuple[str, ...]) -> Iterator[Line]:
    """Every line of these inputs; all are opened before the first is read."""
    inputs = open_inputs(names)
    for one in inputs.files:
        yield from one.lines()
        if isinstance(one, InputFile):
            one.close()


def _problems(found: Job | Invalid, seen: Seen) -> tuple[tuple[Problem, ...], bool]:
    """What is wrong with it, and whether it is the same as an earlier line."""
    if isinstance(found, Invalid):
        return found.problems, False
    before = seen.add(found)
    if before is None:
        return (), False
    if before == found.content:
        return (), True
    return (Problem("id_conflict", "id", "this id stands for a job with other content; give it a new id"),), False


def _show_text(found: Job | Invalid, line: Line, problems: tuple[Problem, ...], *, repeated: bool) -> None:
    place = f"{line.source}:{line.number}"
    for problem in problems:
        sys.stdout.write(f"{place}: {_field(problem)}{problem.message} [{problem.code}]\n")
    for warning in found.warnings:
        sys.stdout.write(f"{place}: warning: {_field(warning)}{warning.message} [{warning.code}]\n")
    if repeated:
        sys.stdout.write(f"{place}: warning: the same job stands above; it is sent once [duplicate]\n")


def _field(problem: Problem) -> str:
    return f"{problem.field}: " if problem.field and not problem.message.startswith(problem.field) else ""


def _show_json(found: Job | Invalid, line: Line, problems: tuple[Problem, ...], *, repeated: bool) -> None:
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
