"""`sender validate`: checks everything, sends nothing."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.cli.arguments import add_settings
from sender.cli.send import INPUT_HELP, inputs_of, reading_of
from sender.cli.send import TEXTS as SEND_TEXTS
from sender.config.load import load
from sender.config.settings import SETTINGS
from sender.errors import HaltError, UsageError
from sender.inputs.inputs import all_batches
from sender.send.checking.checking import check_lines
from sender.validation import Options

if TYPE_CHECKING:
    import argparse

    from sender.jobs.problem import Problem
    from sender.send.checking.checked_line import CheckedLine

HELP: Final = (
    "Check every job, send nothing, and print each problem with file, line and field; exit 1 if any is invalid."
)
TEXTS: Final = {
    "json": "print one JSON object for each job with a problem or a warning",
    "limit": "check so many jobs only; 0 = all",
}
MOST_PROCESSES: Final = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help=INPUT_HELP)
    parser.add_argument(
        "--processes", metavar="N", type=_processes, default=1,
        help="processes that check job lines, for more than one core (default: 1)",
    )
    rows = [name for name, setting in SETTINGS.items() if setting.table == "input"]
    names = ("kind", "limit", *rows, "identity", "json", "require_identifiers", "risky_extensions")
    add_settings(parser, names, texts=SEND_TEXTS | TEXTS)


def run(args: argparse.Namespace) -> int:
    """Check, and return 1 if any job is invalid; what was found before the end of a broken input is told before it."""
    settings = load(vars(args))
    inputs = inputs_of(args.inputs)
    batches = all_batches(inputs, reading_of(settings, check_files=True))
    options = Options(settings.require_identifiers, frozenset(settings.risky_extensions))
    show = _show_json if settings.json else _show_text
    counts: Counter[str] = Counter()
    try:
        with closing(check_lines(batches, settings.kind, options, args.processes)) as checked:
            for line in islice(checked, settings.limit or None):
                counts["read"] += 1
                if line.problems or line.warnings or line.repeated:
                    counts.update(_headings(line))
                    show(line)
    except HaltError:
        _tell(counts)
        raise
    _tell(counts)
    return 1 if counts["invalid"] else 0


def _headings(line: CheckedLine) -> list[str]:
    """What the line counts as, beside being read."""
    marks = {"invalid": line.problems, "duplicate": line.repeated, "warned": line.warnings}
    return [name for name, is_so in marks.items() if is_so]


def _tell(counts: Counter[str]) -> None:
    sys.stderr.write(
        f"{counts['read']:,} jobs: {counts['invalid']:,} invalid, {counts['duplicate']:,} duplicate, "
        f"{counts['warned']:,} with warnings\n"
    )


def _show_text(line: CheckedLine) -> None:
    place = f"{line.source} row {line.number}" if line.of_row else f"{line.source}:{line.number}"
    for problem in line.problems:
        sys.stdout.write(f"{place}: {_field(problem)}{problem.message} [{problem.code}]\n")
    for warning in line.warnings:
        sys.stdout.write(f"{place}: warning: {_field(warning)}{warning.message} [{warning.code}]\n")
    if line.repeated:
        sys.stdout.write(f"{place}: warning: the same job stands above; it is sent once [duplicate]\n")


def _field(problem: Problem) -> str:
    """The field, and the column where it is not named in the sentence."""
    field = f"{problem.field}: " if problem.field and not problem.message.startswith(problem.field) else ""
    column = problem.column if problem.column and f"column {problem.column}" not in problem.message else None
    return f"column {column}: {field}" if column else field


def _show_json(line: CheckedLine) -> None:
    record: dict[str, Any] = {
        "source": line.source,
        "line": line.number,
        "id": line.id,
        "kind": line.kind,
        "valid": not line.problems,
        "duplicate": line.repeated,
        "problems": [problem._asdict() for problem in line.problems],
        "warnings": [warning._asdict() for warning in line.warnings],
    }
    sys.stdout.write(orjson.dumps(record).decode() + "\n")


def _processes(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 1 <= number <= MOST_PROCESSES:
        raise UsageError(f"--processes takes a whole number from 1 to {MOST_PROCESSES}")
    return number
