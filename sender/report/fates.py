"""What holds of each job: the last line of an id that is not `duplicate`, kept in an unlinked file on disk."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from typing import Final

BATCH: Final = 5000


class Fates:
    """Status and error code by job."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # an empty name is a private temporary database, on disk when it grows
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE fate (job BLOB PRIMARY KEY, status TEXT, code TEXT) WITHOUT ROWID")
        self._waiting: dict[bytes, tuple[str, str]] = {}
        self.duplicates = 0

    def add(self, job: str, status: str, code: str) -> None:
        """A line about this job, in the order of the log."""
        if status == "duplicate":
            self.duplicates += 1
            return
        self._waiting[blake2b(job.encode("utf-8", "replace"), digest_size=12).digest()] = (status, code)
        if len(self._waiting) >= BATCH:
            self._write()

    def _write(self) -> None:
        rows = sorted((job, *fate) for job, fate in self._waiting.items())
        self._db.executemany("INSERT OR REPLACE INTO fate VALUES (?, ?, ?)", rows)
        self._waiting.clear()

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs stand under (status, code); duplicates by lines."""
        self._write()
        query = "SELECT status, code, COUNT(*) FROM fate GROUP BY status, code"
        found = {(status, code): count for status, code, count in self._db.execute(query)}
        if self.duplicates:
            found["duplicate", ""] = self.duplicates
        return found

    def close(self) -> None:
        """Give the file back."""
        self._db.close()
