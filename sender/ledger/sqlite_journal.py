"""The journal of a SQLite ledger: batches as they come, a row for each, until they are folded into the tables.

A row is one page after another at the end of the file, where the same jobs, each at the place of its key, are as many
pages as jobs. Of a job that ends before the journal is folded, the tables only ever see the end. While a journal is
kept the table `held` is empty: what is handed over stands in the journal alone.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sender.errors import UsageError
from sender.ledger import sqlite_facts as facts
from sender.ledger import sqlite_statements as statements
from sender.ledger.sqlite_schema import unusable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_APPEND: Final = "INSERT INTO journal (what, run, jobs, states, lines, upto) VALUES (?, ?, ?, ?, ?, ?)"
_ROWS: Final = "SELECT what, run, jobs, states FROM journal ORDER BY seq"
_LINES: Final = "SELECT lines, upto FROM journal WHERE upto > ? ORDER BY seq"
_ENDS: Final = """
INSERT INTO jobs (key, content, state, run, resendable, result, detail)
SELECT value ->> 0, value ->> 1, value ->> 2, run, value ->> 3, value ->> 4, value ->> 5
FROM journal, json_each(journal.jobs) WHERE what = 'finish' ORDER BY 1
"""
_COUNT_IN: Final = """
INSERT INTO tally SELECT each.key, sum(each.value) FROM journal, json_each(journal.states) AS each GROUP BY 1
ON CONFLICT (state) DO UPDATE SET jobs = jobs + excluded.jobs
"""


def hand_over(db: sqlite3.Connection, jobs: str, run: int) -> None:
    """See `sqlite_statements.hand_over`."""
    db.execute(_APPEND, ("hand_over", run, jobs, None, None, None))


def release(db: sqlite3.Connection, keys: str, run: int) -> None:
    """See `sqlite_statements.release`."""
    db.execute(_APPEND, ("release", run, keys, None, None, None))


def finish(db: sqlite3.Connection, jobs: str, states: str, lines: bytes, upto: int, run: int) -> None:
    """See `sqlite_statements.finish`; `lines` are joined, `upto` is the number of the last one."""
    db.execute(_APPEND, ("finish", run, jobs, states, lines, upto))


def fold(db: sqlite3.Connection, held: str, run: int) -> None:
    """Write the ends into the tables, and begin a new journal with the jobs that are still handed over, as rows."""
    try:
        db.execute(_ENDS)
        db.execute(_COUNT_IN)
    except sqlite3.IntegrityError:  # some had ended before, or end twice: nothing of the statement stands
        for what, by, jobs, states in rows(db):
            if what == "finish":
                statements.end(db, jobs, states, by)
    _empty(db)
    if held != "[]":
        hand_over(db, held, run)


def whole(db: sqlite3.Connection, held: str, run: int, function: Callable[[sqlite3.Connection], T]) -> T:
    """What a function finds in tables that know all; as `fold`."""
    fold(db, held, run)
    statements.hand_over(db, held, run)
    found = function(db)
    statements.hold_nothing(db)
    return found


def peek(db: sqlite3.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """The same where nothing can be written any more."""
    db.execute("BEGIN")
    try:
        replay(db, rows(db))
        return function(db)
    finally:
        db.execute("ROLLBACK")


def take_in(db: sqlite3.Connection) -> None:
    """Write all of it into the tables, in the order in which it came, and leave no journal."""
    replay(db, rows(db))
    _empty(db)


def recover(db: sqlite3.Connection, path: Path) -> None:
    """Take in what a run that was killed has left; UsageError when the ledger cannot be written."""
    try:
        if rows(db):
            db.execute("BEGIN IMMEDIATE")
            take_in(db)
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise UsageError(unusable(path, error)) from None


def rows(db: sqlite3.Connection) -> list[Any]:
    """Rows of what, run, jobs, states, oldest first."""
    return db.execute(_ROWS).fetchall()


def replay(db: sqlite3.Connection, rows: list[Any]) -> None:
    """Write these rows into the tables of a connection, which may be another one."""
    for what, run, jobs, states in rows:
        if what == "hand_over":
            statements.hand_over(db, jobs, run)
        elif what == "release":
            statements.release(db, jobs, run)
        else:
            statements.end(db, jobs, states, run)
            statements.let_go(db, jobs)


def unlogged(db: sqlite3.Connection) -> list[tuple[int, str]]:
    """Number and line of those that the log is not known to have, oldest first."""
    logged, found = _number(db, "logged"), []
    for lines, upto in db.execute(_LINES, (logged,)):
        each = lines.decode().split("\n")[:-1]
        found += [(number, f"{line}\n") for number, line in enumerate(each, upto - len(each) + 1) if number > logged]
    return found


def forget_logged(db: sqlite3.Connection, upto: int) -> None:
    """See `sqlite_statements.forget_logged`."""
    if upto > _number(db, "logged"):
        facts.put(db, "logged", str(upto))


def last_number(db: sqlite3.Connection) -> int:
    """The greatest number that a line was ever given."""
    (newest,) = db.execute("SELECT max(upto) FROM journal").fetchone()
    return max(newest or 0, _number(db, "numbered"), statements.last_given(db))


def _number(db: sqlite3.Connection, fact: str) -> int:
    return int(facts.get(db, fact) or 0)


def _empty(db: sqlite3.Connection) -> None:
    statements.put_lines(db, unlogged(db))
    facts.put(db, "numbered", str(last_number(db)))
    db.execute("DELETE FROM journal")
