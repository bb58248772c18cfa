"""A LedgerView reads a SQLite ledger without writing a byte: a rehearsal's own, or one that another run has written."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import orjson

from sender.errors import UsageError
from sender.ledger import sqlite_facts as facts
from sender.ledger import sqlite_journal as journal
from sender.ledger import sqlite_statements as statements
from sender.ledger.ledger import Doubt, JobRecord
from sender.ledger.sqlite_schema import BEFORE, VERSION, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PAGE: Final = 1000
_PAGE: Final = """
SELECT key, content, state, resendable, result, detail FROM jobs WHERE key > ? ORDER BY key LIMIT ?
"""
_DOUBTS: Final = """
SELECT key, content, state, detail, resendable FROM jobs WHERE state = 'in_doubt'
UNION ALL SELECT key, content, 'handed_over', detail, 1 FROM held
"""
_RESULTS: Final = "SELECT result FROM jobs WHERE result IN (SELECT value FROM json_each(?))"
_HELD: Final = "SELECT key, content, detail FROM held ORDER BY key"
_COPY_JOBS: Final = (
    "SELECT * FROM jobs WHERE key IN (SELECT value FROM json_each(?))",
    "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)",
)
_COPY_HELD: Final = (
    "SELECT * FROM held WHERE key IN (SELECT value FROM json_each(?))",
    "INSERT INTO held VALUES (?, ?, ?, ?)",
)


class StoredJob(NamedTuple):
    """All that a ledger knows of one job."""

    key: str
    content: str
    state: str
    resendable: int
    result: str | None
    detail: str | None


class LedgerView:
    """Knows nothing where there is no file."""

    def __init__(self, db: sqlite3.Connection | None, *, has_journal: bool = False) -> None:
        self._db = db
        self._has_journal = has_journal
        self._lock = Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """UsageError when the file is no ledger of this version, or cannot be read."""
        if not path.exists():
            return cls(None)
        try:
            uri = f"{path.resolve().as_uri()}?mode=ro"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise UsageError(f"the ledger {path} cannot be read: {error}") from None
        if version not in (BEFORE, VERSION):
            db.close()
            raise UsageError(f"the ledger {path} cannot be read: it is of another version of sender")
        return cls(db, has_journal=version == VERSION)

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()

    def fact(self, name: str) -> str | None:
        """One of the ledger's facts: `host`, `workspace`."""
        return None if self._db is None else facts.get(self._db, name)

    def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        """What is known of these identities."""
        if self._db is None or not keys:
            return {}
        wanted = orjson.dumps(keys).decode()
        with self._snapshot() as (db, recent, changed):
            rows = [row for row in orjson.loads(statements.find(db, wanted)) if row[0] not in changed]
            if recent is not None:
                rows += orjson.loads(statements.find(recent, wanted))
        return {
            key: JobRecord(state, content, run, bool(again), result=result, error=error)
            for key, state, content, run, again, result, error in rows
        }

    def doubts(self) -> Iterator[Doubt]:
        """Every job in doubt, and those that are handed over."""
        if self._db is None:
            return
        with self._snapshot() as (db, recent, changed):
            rows = [row for row in db.execute(_DOUBTS) if row[0] not in changed]
            if recent is not None:
                rows += recent.execute(_DOUBTS).fetchall()
        for key, content, state, detail, resendable in rows:
            yield Doubt(key, content, state, (detail or "{}").encode(), bool(resendable))

    def known_results(self, results: Sequence[str]) -> set[str]:
        """Which of these delivery ids belong to a job; scans the jobs once."""
        if self._db is None:
            return set()
        wanted = (orjson.dumps(results).decode(),)
        with self._snapshot() as (db, recent, _):
            return {result for one in (db, recent) if one is not None for (result,) in one.execute(_RESULTS, wanted)}

    def jobs(self) -> Iterator[StoredJob]:
        """Every job, those in hand of a run that may still work included."""
        if self._db is None:
            return
        with self._snapshot() as (db, recent, changed):
            held = [row for row in db.execute(_HELD) if row[0] not in changed]
            late = [] if recent is None else recent.execute(_PAGE, ("", -1)).fetchall()
            held += [] if recent is None else recent.execute(_HELD).fetchall()
        yield from (one for one in self._settled() if one.key not in changed)
        yield from (StoredJob(*row) for row in late)
        for key, content, detail in held:
            yield StoredJob(key, content, "handed_over", 1, None, detail)

    def _settled(self) -> Iterator[StoredJob]:
        """Every job in the table of those that have ended."""
        after = ""
        while self._db is not None:
            rows = self._db.execute(_PAGE, (after, PAGE)).fetchall()
            yield from (StoredJob(*row) for row in rows)
            if len(rows) < PAGE:
                break
            after = rows[-1][0]

    @contextmanager
    def _snapshot(self) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection | None, frozenset[str]]]:
        """The tables, those of the jobs that the journal changes, and which jobs these are; all of one moment."""
        db = self._db
        assert db is not None  # noqa: S101 - asked by who has looked
        with self._lock:
            db.execute("BEGIN")
            try:
                rows = journal.rows(db) if self._has_journal else []
                if rows:
                    with closing(in_memory()) as recent:
                        yield db, recent, _replay(db, recent, rows)
                else:
                    yield db, None, frozenset()
            finally:
                db.execute("COMMIT")


def _replay(db: sqlite3.Connection, recent: sqlite3.Connection, rows: list[Any]) -> frozenset[str]:
    """Have `recent` know all of the jobs that the journal changes; returns their keys."""
    changed = {one if isinstance(one, str) else one[0] for _, _, jobs, _ in rows for one in orjson.loads(jobs)}
    keys = (orjson.dumps(list(changed)).decode(),)
    for select, insert in (_COPY_JOBS, _COPY_HELD):
        recent.executemany(insert, db.execute(select, keys).fetchall())
    journal.replay(recent, rows)
    return frozenset(changed)
