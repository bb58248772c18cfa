"""WaitingNews keeps what was told of deliveries that are not known yet: their jobs may end in a moment.

A webhook may be quicker than the outcome log, and a job in doubt is adopted later still. What nobody asks for within a
day was of somebody else.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final, Self

import orjson

from sender.errors import OutputError, UsageError
from sender.follow.news import News, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIX: Final = ".waiting"
KEPT: Final = 86400.0
"""Seconds."""
MOST: Final = 200_000
"""Of more the oldest go."""
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS news (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, at REAL, told TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS of_delivery ON news (id);
"""


class WaitingNews:
    """A small database beside the deliveries file (mode 0600); used by one thread at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @classmethod
    def open(cls, deliveries: Path) -> Self:
        """The one beside this deliveries file; UsageError when it cannot be used."""
        path = deliveries.with_name(deliveries.name + SUFFIX)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"{path}, which keeps webhooks for a while, cannot be used: {error}") from None
        return cls(db, path)

    def keep(self, news: Iterable[News], now: float) -> None:
        """Durably add these, and let go of what is too old; OutputError when they cannot be written."""
        rows = [(one.delivery_id, now, _told(one)) for one in news]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO news (id, at, told) VALUES (?, ?, ?)", rows)
            self._db.execute(
                "DELETE FROM news WHERE at < ? OR seq <= (SELECT max(seq) FROM news) - ?", (now - KEPT, MOST)
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise OutputError(f"{self._path} cannot be written ({error})") from None

    def ids(self) -> list[str]:
        """The deliveries of which something waits."""
        return [name for (name,) in self._db.execute("SELECT DISTINCT id FROM news")]

    def find(self, ids: Iterable[str]) -> list[News]:
        """What was told of these."""
        sql = "SELECT id, told FROM news WHERE id IN (SELECT value FROM json_each(?)) ORDER BY seq"
        return [_news(*row) for row in self._db.execute(sql, (orjson.dumps(list(ids)).decode(),))]

    def forget(self, ids: Iterable[str]) -> None:
        """These are told elsewhere by now."""
        sql = "DELETE FROM news WHERE id IN (SELECT value FROM json_each(?))"
        self._db.execute(sql, (orjson.dumps(list(ids)).decode(),))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _told(news: News) -> str:
    reasons = {word: (reason.code, reason.text) for word, reason in news.reasons.items()}
    return orjson.dumps([dict(news.metrics), reasons, news.domain, news.kind]).decode()


def _news(delivery_id: str, told: str) -> News:
    metrics, reasons, domain, kind = orjson.loads(told)
    return News(delivery_id, metrics, {word: Reason(*one) for word, one in reasons.items()}, domain, kind)
