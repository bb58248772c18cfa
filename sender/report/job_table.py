"""What holds of each job: the last line of an id that is not `duplicate`, kept in an unlinked file on disk."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH: Final = 5000
NOT_SENT: Final = ("invalid", "rejected", "failed", "in_doubt")
_SCHEMA: Final = """
CREATE TABLE job (key BLOB PRIMARY KEY, place INTEGER, status TEXT, code TEXT, facts BLOB, doubt TEXT) WITHOUT ROWID
"""
_PUT: Final = """
INSERT INTO job VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET place = excluded.place,
status = excluded.status, code = excluded.code, facts = excluded.facts, doubt = COALESCE(job.doubt, excluded.doubt)
"""


class Unsent(NamedTuple):
    """A job that was not sent, in texts that are safe to show."""

    job: str
    kind: str
    status: str
    code: str
    message: str
    http_status: str
    attempts: str
    at: str
    """When its request was written, or else when it ended."""
    source: str
    line: str


class JobTable:
    """Status and error of every job, whether it ever was in doubt, and more of those that were not sent."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # an empty name is a private temporary database, on disk when it grows
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(_SCHEMA)
        self._waiting: list[tuple[bytes, int, str, str, bytes | None, str | None]] = []
        self._lines = 0
        self.duplicates = 0

    def add(self, key: bytes, status: str, code: str, unsent: Unsent | None) -> None:
        """A line about the job with this key, in the order of the log."""
        if status == "duplicate":
            self.duplicates += 1
            return
        self._lines += 1
        facts = None if unsent is None else orjson.dumps(tuple(unsent))
        doubt = code if status == "in_doubt" else None
        self._waiting.append((key, self._lines, status, code, facts, doubt))
        if len(self._waiting) >= BATCH:
            self._write()

    def _write(self) -> None:
        self._waiting.sort(key=lambda row: row[0])  # near each other on disk; lines of one job keep their order
        self._db.executemany(_PUT, self._waiting)
        self._waiting.clear()

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs stand under (status, code); duplicates by lines."""
        self._write()
        query = "SELECT status, code, COUNT(*) FROM job GROUP BY status, code"
        found = {(status, code): count for status, code, count in self._db.execute(query)}
        if self.duplicates:
            found["duplicate", ""] = self.duplicates
        return found

    def unsent(self) -> Iterator[Unsent]:
        """Every job that was not sent, in the order of the log."""
        self._write()
        for (facts,) in self._db.execute("SELECT facts FROM job WHERE facts IS NOT NULL ORDER BY place"):
            yield Unsent(*orjson.loads(facts))

    def doubts(self) -> list[tuple[str, str, int]]:
        """(code of its first doubt, status that holds now, jobs) of all that ever were in doubt."""
        self._write()
        query = "SELECT doubt, status, COUNT(*) FROM job WHERE doubt IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        return list(self._db.execute(query))

    def close(self) -> None:
        """Give the file back."""
        self._db.close()


def key_of(job: str) -> bytes:
    """A short key for a job's name, however long that is."""
    return blake2b(job.encode("utf-8", "replace"), digest_size=12).digest()
