"""Identities that were seen before, in an unlinked file on disk: memory stays flat over any number of jobs."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.jobs.job import Job


class DuplicateIndex:
    """Which identity had which content, for the length of one command; used by one thread at a time."""

    def __init__(self) -> None:
        # An empty name is a private temporary database, on disk when it grows.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")

    def add(self, job: Job) -> str | None:
        """Remember the job; the content that its identity had before, if it was seen."""
        before = self._find(job.key)
        if before is None:
            self._db.execute("INSERT INTO seen VALUES (?, ?)", (job.key, job.content))
        return before

    def claim(self, key: str, owner: str) -> str:
        """Who claimed the key first: this owner, if nobody did before."""
        before = self._find(key)
        if before is None:
            self._db.execute("INSERT INTO seen VALUES (?, ?)", (key, owner))
        return before or owner

    def _find(self, key: str) -> str | None:
        row = self._db.execute("SELECT content FROM seen WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])
