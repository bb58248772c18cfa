"""Identities that were seen before, in an unlinked file on disk: memory stays flat over any number of jobs."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.jobs.job import Job


class DuplicateIndex:
    """Which identity had which content, for the length of one command."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # an empty name is a private temporary database, on disk when it grows
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")

    def add(self, job: Job) -> str | None:
        """Remember the job; the content that its identity had before, if it was seen."""
        row = self._db.execute("SELECT content FROM seen WHERE key = ?", (job.key,)).fetchone()
        if row is not None:
            return str(row[0])
        self._db.execute("INSERT INTO seen VALUES (?, ?)", (job.key, job.content))
        return None
