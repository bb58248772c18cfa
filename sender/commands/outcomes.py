"""`sender outcomes`: filters outcome logs, and gives back the job lines behind them."""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.commands.validate import all_lines
from sender.errors import UsageError
from sender.kinds import SEND_KINDS
from sender.outcome import STATUSES
from sender.outcome_log import read_outcomes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from sender.job import Line

HELP: Final = """Print the outcomes that hold (the last line of each id that is not duplicate), filtered; with --jobs
the job lines behind them, to be repaired and sent again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add = parser.add_argument
    add("logs", metavar="OUTCOMES", nargs="+", help="an outcome log")
    add("--status", metavar="STATUS,…", help=f"only these: {', '.join(STATUSES)}")
    add("--code", metavar="CODE,…", help="only these error codes")
    add("--kind", metavar="KIND,…", help="only these kinds")
    add("--all", action="store_true", help="every line, not only those that hold")
    add("--count", action="store_true", help="print how many there are of each status and code")
    add("--jobs", metavar="INPUT", action="append", help="print the job lines of this input behind the outcomes")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    statuses, codes, kinds = (_words(getattr(args, name)) for name in ("status", "code", "kind"))
    unknown = statuses - set(STATUSES)
    if unknown:
        raise UsageError(f"--status takes {', '.join(STATUSES)}, not {', '.join(sorted(unknown))}")
    logs = [Path(name) for name in args.logs]
    for log in logs:
        if not log.is_file():
            raise UsageError(f"{log} is not an outcome log: there is no such file")
    chosen = (
        outcome
        for outcome in (_every(logs) if args.all else _holding(logs))
        if (not statuses or outcome["status"] in statuses)
        and (not kinds or outcome.get("kind") in kinds)
        and (not codes or ((outcome.get("error") or {}).get("code") in codes))
    )
    if args.jobs:
        return _print_jobs(chosen, tuple(args.jobs))
    return _print_counts(chosen) if args.count else _print_lines(chosen)


def _words(text: str | None) -> set[str]:
    return {word.strip() for word in text.split(",")} if text else set()


def _every(logs: list[Path]) -> Iterator[dict[str, Any]]:
    for log in logs:
        try:
            yield from read_outcomes(log)
        except (OSError, orjson.JSONDecodeError) as error:
            raise UsageError(f"{log} is not an outcome log: {error}") from None


def _holding(logs: list[Path]) -> Iterator[dict[str, Any]]:
    """For each id its last line that is not `duplicate`, and every line without an id or that is a duplicate."""
    last = sqlite3.connect("")
    last.execute("CREATE TABLE last (id TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID")
    for number, outcome in enumerate(_every(logs)):
        if outcome.get("id") is not None and outcome["status"] != "duplicate":
            last.execute("INSERT OR REPLACE INTO last VALUES (?, ?)", (outcome["id"], number))
    for number, outcome in enumerate(_every(logs)):
        if outcome.get("id") is None or outcome["status"] == "duplicate":
            yield outcome
            continue
        (newest,) = last.execute("SELECT number FROM last WHERE id = ?", (outcome["id"],)).fetchone()
        if newest == number:
            yield outcome


def _print_lines(chosen: Iterator[dict[str, Any]]) -> int:
    for outcome in chosen:
        sys.stdout.write(orjson.dumps(outcome).decode() + "\n")
    return 0


def _print_counts(chosen: Iterator[dict[str, Any]]) -> int:
    counts: dict[str, int] = {}
    for outcome in chosen:
        code = (outcome.get("error") or {}).get("code")
        name = f"{outcome['status']} {code}" if code else outcome["status"]
        counts[name] = counts.get(name, 0) + 1
    for name, number in sorted(counts.items()):
        sys.stdout.write(f"{number:>10,}  {name}\n")
    return 0


def _print_jobs(chosen: Iterator[dict[str, Any]], inputs: tuple[str, ...]) -> int:
    """By id where there is one, since inputs get edited and reordered; else by the line's place."""
    from sender.parsing import Parser

    wanted = sqlite3.connect("")
    wanted.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
    wanted.execute("CREATE TABLE places (source TEXT, line INTEGER, PRIMARY KEY (source, line)) WITHOUT ROWID")
    kinds = {"email"}
    for outcome in chosen:
        if outcome.get("kind") in SEND_KINDS:
            kinds.add(outcome["kind"])
        if outcome.get("id") is not None:
            wanted.execute("INSERT OR IGNORE INTO ids VALUES (?)", (outcome["id"],))
        else:
            place = (Path(outcome["source"]).name, outcome["line"])
            wanted.execute("INSERT OR IGNORE INTO places VALUES (?, ?)", place)
    parsers = [Parser(kind) for kind in sorted(kinds)]  # the id of a bare line depends on the kind it was sent as
    for line in all_lines(inputs):
        if any(_take(wanted, parser.parse(line, time.time()).id, line) for parser in parsers):
            sys.stdout.buffer.write(line.data + b"\n")
    return 0


def _take(wanted: sqlite3.Connection, job_id: str | None, line: Line) -> bool:
    """Whether the line is wanted; each id once."""
    if job_id is None:
        place = (Path(line.source).name, line.number)
        return wanted.execute("SELECT 1 FROM places WHERE source = ? AND line = ?", place).fetchone() is not None
    return wanted.execute("DELETE FROM ids WHERE id = ? RETURNING 1", (job_id,)).fetchone() is not None
