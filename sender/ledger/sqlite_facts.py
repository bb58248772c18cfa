"""The facts of a SQLite ledger: named texts, by which it knows its API, its workspace and its runs."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from sender.errors import UsageError
from sender.ledger.sqlite_schema import unusable

if TYPE_CHECKING:
    from pathlib import Path


class Beginning(NamedTuple):
    """What a run finds."""

    run: int
    was_clean: bool
    """Whether the run before this one ended in order."""
    last_hand_over: float | None
    """Unix seconds of the last hand-over before this run."""


def get(db: sqlite3.Connection, name: str) -> str | None:
    """A fact, or None."""
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def put(db: sqlite3.Connection, name: str, value: str) -> None:
    """Set a fact."""
    db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value))


def swap(db: sqlite3.Connection, name: str, expected: str | None, new: str | None) -> bool:
    """Set a fact (None: delete it) if it still has the expected value; whether it was set."""
    if get(db, name) != expected:
        return False
    if new is None:
        db.execute("DELETE FROM facts WHERE name = ?", (name,))
    else:
        put(db, name, new)
    return True


def begin_run(db: sqlite3.Connection, path: Path, host: str | None) -> Beginning:
    """Count a new run; UsageError when the ledger belongs to another API or cannot be written."""
    try:
        db.execute("BEGIN IMMEDIATE")
        if host is not None:
            _bind(db, path, host)
        stamp = get(db, "last_hand_over")
        run = int(get(db, "run") or 0) + 1
        beginning = Beginning(run, get(db, "clean") != "0", None if stamp is None else float(stamp))
        put(db, "run", str(run))
        if run == 1:
            put(db, "log", "unread")
        put(db, "clean", "0")
        db.execute("COMMIT")
    except sqlite3.Error as error:
        raise UsageError(unusable(path, error)) from None
    return beginning


def _bind(db: sqlite3.Connection, path: Path, host: str) -> None:
    known = get(db, "host")
    if known is None:
        put(db, "host", host)
    elif known != host:
        raise UsageError(
            f"the ledger {path} belongs to the API at {known}, this run goes to {host}: "
            "use another --ledger (and --outcomes)"
        )
