"""A LedgerView reads a SQLite ledger without writing a byte: a rehearsal's own, or one that another run has written."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import orjson

from sender.errors import UsageError
from sender.ledger import sqlite_facts as facts
from sender.ledger import sqlite_statements as statements
from sender.ledger.ledger import Doubt, JobRecord
from sender.ledger.sqlite_schema import VERSION

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


class StoredJob(NamedTuple):
    """All that a ledger knows of one job."""

    key: str
    content: str
    state: str
    resendable: int
    result: str | None
    detail: str | None


class LedgerView:
    """To be used by one thread at a time; knows nothing where there is no file."""

    def __init__(self, db: sqlite3.Connection | None) -> None:
        self._db = db

    @classmethod
    def open(cls, path: Path) -> Self:
        """UsageError when the file is no ledger of this version, or cannot be read."""
        if not path.exists():
            return cls(None)
        try:
            db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise UsageError(f"the ledger {path} cannot be read: {error}") from None
        if version != VERSION:
            db.close()
            raise UsageError(f"the ledger {path} cannot be read: it is of another version of sender")
        return cls(db)

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
        rows = orjson.loads(statements.find(self._db, orjson.dumps(keys).decode()))
        return {key: JobRecord(state, content, run, bool(again)) for key, state, content, run, again in rows}

    def doubts(self) -> Iterator[Doubt]:
        """Every job in doubt, and those that are handed over."""
        rows = () if self._db is None else self._db.execute(_DOUBTS).fetchall()
        for key, content, state, detail, resendable in rows:
            yield Doubt(key, content, state, (detail or "{}").encode(), bool(resendable))

    def known_results(self, results: Sequence[str]) -> set[str]:
        """Which of these delivery ids belong to a job; scans the jobs once."""
        if self._db is None:
            return set()
        return {result for (result,) in self._db.execute(_RESULTS, (orjson.dumps(results).decode(),))}

    def jobs(self) -> Iterator[StoredJob]:
        """Every job, those in hand of a run that may still work included."""
        after = ""
        while self._db is not None:
            rows = self._db.execute(_PAGE, (after, PAGE)).fetchall()
            yield from (StoredJob(*row) for row in rows)
            if len(rows) < PAGE:
                break
            after = rows[-1][0]
        if self._db is not None:
            for key, content, detail in self._db.execute(_HELD):
                yield StoredJob(key, content, "handed_over", 1, None, detail)
