"""Identities that were seen before: the latest in memory, the others in an unlinked file, so that memory stays flat."""

from __future__ import annotations

import sqlite3
from typing import Final

MOST_RECENT: Final = 50_000
"""Identities in memory."""
MARKS: Final = 1 << 27
"""Bits, 16 MiB: with ten million identities one in fourteen new ones is looked for in the file for nothing."""


class DuplicateIndex:
    """Which identity had which content, for the length of one command; used by one thread at a time."""

    def __init__(self) -> None:
        # An empty name is a private temporary database, on disk when it grows.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")
        self._recent: dict[str, str] = {}
        self._marks = bytearray()
        """A bit for the hash of each identity in the file: one without it is surely not there."""

    def add(self, key: str, content: str) -> str | None:
        """Remember the identity; the content that it had before, if it was seen."""
        before = self._recent.get(key) or self._find(key)
        if before is None:
            self._recent[key] = content
            if len(self._recent) >= MOST_RECENT:
                self._store()
        return before

    def claim(self, key: str, owner: str) -> str:
        """Who claimed the key first: this owner, if nobody did before."""
        return self.add(key, owner) or owner

    def _find(self, key: str) -> str | None:
        place = hash(key) % MARKS
        if not self._marks or not self._marks[place >> 3] >> (place & 7) & 1:
            return None
        row = self._db.execute("SELECT content FROM seen WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _store(self) -> None:
        """Put what is in memory into the file, in the order of its keys: that touches each page once."""
        self._marks = marks = self._marks or bytearray(MARKS >> 3)
        for key in self._recent:
            place = hash(key) % MARKS
            marks[place >> 3] |= 1 << (place & 7)
        self._db.executemany("INSERT INTO seen VALUES (?, ?)", sorted(self._recent.items()))
        self._recent.clear()
