"""`sender outcomes`: filters outcome logs, and gives back the job lines behind them."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.cli.arguments import add_settings
from sender.cli.send import reading_of
from sender.config.load import load
from sender.errors import UsageError
from sender.inputs.formats import form_of
from sender.inputs.inputs import all_lines
from sender.jobs.kinds import KINDS
from sender.jobs.status import STATUSES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from sender.inputs.input_options import InputOptions

HELP: Final = """Print the outcomes that hold (the last line of each id that is not duplicate), filtered; with --jobs
the job lines behind them, to be repaired and sent again. Exit 1 if some of those were not found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("logs", metavar="OUTCOMES", nargs="+", help="an outcome log")
    which = parser.add_argument_group("which outcomes")
    which.add_argument("--status", metavar="STATUS,…", help=f"only these: {', '.join(STATUSES)}")
    which.add_argument("--code", metavar="CODE,…", help="only those with one of these error codes")
    which.add_argument("--kind", metavar="KIND,…", help=f"only these kinds: {', '.join(KINDS)}")
    lines = which.add_mutually_exclusive_group()
    lines.add_argument("--last", action="store_true", help="only lines that hold (the default)")
    lines.add_argument("--all", action="store_true", help="every line of the logs")
    form = parser.add_argument_group("in which form").add_mutually_exclusive_group()
    form.add_argument("--count", action="store_true", help="how many there are of each status and code")
    form.add_argument(
        "--jobs", metavar="INPUT", action="append", help="their job lines, found in this input (may be repeated)"
    )
    form.add_argument(
        "--rows", metavar="INPUT", help="their rows of this table as they stood, with a column that says why"
    )
    add_settings(parser, ("format", "delimiter", "quote", "encoding", "query", "query_file"))


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    wanted = _Filter(
        _words("--status", args.status, STATUSES), _words("--code", args.code), _words("--kind", args.kind, KINDS)
    )
    logs = [_Log(Path(name)) for name in args.logs]
    entries = _every(logs) if args.all else _holding(logs, duplicates="duplicate" in wanted.statuses)
    chosen = (entry for entry in entries if wanted.takes(entry.outcome))
    if args.rows:
        return _print_rows(chosen, args.rows, reading_of(load(vars(args))))
    if args.jobs:
        return _print_jobs(chosen, args.jobs)
    return _print_counts(chosen) if args.count else _print_lines(chosen)


class _Entry(NamedTuple):
    """One line of a log, in its own bytes and as what it says."""

    line: bytes
    outcome: dict[str, Any]


class _Filter(NamedTuple):
    """Empty sets take everything."""

    statuses: frozenset[str]
    codes: frozenset[str]
    kinds: frozenset[str]

    def takes(self, outcome: dict[str, Any]) -> bool:
        """Whether the outcome was asked for."""
        return (
            (not self.statuses or outcome["status"] in self.statuses)
            and (not self.kinds or outcome.get("kind") in self.kinds)
            and (not self.codes or _code(outcome) in self.codes)
        )


def _words(option: str, text: str | None, known: Iterable[str] | None = None) -> frozenset[str]:
    words = frozenset(word.strip() for word in (text or "").split(",") if word.strip())
    if known is not None and not words <= set(known):
        raise UsageError(f"{option} takes {', '.join(known)}, not {', '.join(sorted(words - set(known)))}")
    if text is not None and not words:
        raise UsageError(f"{option} must not be empty")
    return words


def _code(outcome: dict[str, Any]) -> str | None:
    error = outcome.get("error")
    return error.get("code") if isinstance(error, dict) else None


class _Log:
    """An outcome log as long as it was at first: it may be read twice while a run still appends to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise UsageError(f"{path} is not an outcome log: there is no such file")
        self._size = path.stat().st_size

    def entries(self) -> Iterator[_Entry]:
        """Every line; a torn last one is passed over."""
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if file.tell() > self._size:
                        return
                    entry = self._read(line, number)
                    if entry is not None:
                        yield entry
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read: {error.strerror}") from None

    def _read(self, line: bytes, number: int) -> _Entry | None:
        whole = line.endswith(b"\n")
        line = line.strip()
        if not line:
            return None
        try:
            outcome = orjson.loads(line)
        except orjson.JSONDecodeError:
            outcome = None
        if isinstance(outcome, dict) and outcome.get("status") in STATUSES and isinstance(outcome.get("source"), str):
            return _Entry(line, outcome)
        if not whole and outcome is None:
            return None
        raise UsageError(f"{self._path}:{number} is not a line of an outcome log")


def _every(logs: Iterable[_Log]) -> Iterator[_Entry]:
    for log in logs:
        yield from log.entries()


def _holding(logs: list[_Log], *, duplicates: bool) -> Iterator[_Entry]:
    """For each job its last line that is not `duplicate`; lines without an id are known by their place."""
    last = sqlite3.connect("")  # an empty name is a private temporary database, on disk when it grows
    last.execute("CREATE TABLE last (job TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID")
    for number, (_, outcome) in enumerate(_every(logs)):
        if outcome["status"] != "duplicate":
            last.execute("INSERT OR REPLACE INTO last VALUES (?, ?)", (_job_of(outcome), number))
    for number, entry in enumerate(_every(logs)):
        if entry.outcome["status"] == "duplicate":
            if duplicates:
                yield entry
        elif last.execute(
            "SELECT 1 FROM last WHERE job = ? AND number = ?", (_job_of(entry.outcome), number)
        ).fetchone():
            yield entry


def _job_of(outcome: dict[str, Any]) -> str:
    job_id = outcome.get("id")
    return f"id {job_id}" if job_id is not None else f"line {outcome.get('line')} of {outcome['source']}"


def _print_lines(chosen: Iterable[_Entry]) -> int:
    for entry in chosen:
        sys.stdout.buffer.write(entry.line + b"\n")
    return 0


def _print_counts(chosen: Iterable[_Entry]) -> int:
    counts = Counter((entry.outcome["status"], _code(entry.outcome) or "") for entry in chosen)
    for (status, code), number in sorted(counts.items()):
        sys.stdout.write(f"{number:>10,}  {status} {code}".rstrip() + "\n")
    return 0


def _print_jobs(chosen: Iterable[_Entry], inputs: list[str]) -> int:
    from sender.outcomes.redrive import JobLines

    for name in inputs:
        if not Path(name).is_file():
            raise UsageError(f"--jobs: {name} must be a file, since it is read twice")
        if form_of(name).format not in ("lines", "json"):
            raise UsageError(f"--jobs: {name} is a table; --rows gives its rows back")
    lines = JobLines()
    for entry in chosen:
        lines.want(entry.outcome)
    for line in lines.find(inputs, lambda: all_lines(tuple(inputs))):
        sys.stdout.buffer.write(line.data + b"\n")
    if lines.missing:
        sys.stderr.write(f"sender: {lines.missing:,} of the job lines are not in {', '.join(inputs)}\n")
    return 1 if lines.missing else 0


def _print_rows(chosen: Iterable[_Entry], name: str, reading: InputOptions) -> int:
    from sender.inputs.inputs import open_table
    from sender.inputs.rows_again import rows_again
    from sender.outcomes.redrive import input_of

    whys = sqlite3.connect("")
    whys.execute("CREATE TABLE whys (row INTEGER PRIMARY KEY, why TEXT)")
    for _, outcome in chosen:
        if input_of(outcome["source"], (name,)) is not None:
            whys.execute("REPLACE INTO whys VALUES (?, ?)", (outcome["line"], _why(outcome)))

    def why(row: int) -> str | None:
        found = whys.execute("SELECT why FROM whys WHERE row = ?", (row,)).fetchone()
        return None if found is None else str(found[0])

    for line in rows_again(open_table(name, reading), why):
        sys.stdout.buffer.write(line)
    return 0


def _why(outcome: dict[str, Any]) -> str:
    error = outcome.get("error") or {}
    problems = error.get("problems") or ([error] if error else [])
    told = [_with_column(problem) for problem in problems]
    return "; ".join(told) or outcome["status"]


def _with_column(problem: dict[str, Any]) -> str:
    column, message = problem.get("column"), problem["message"]
    return f"column {column}: {message}" if column and f"column {column}" not in message else message
