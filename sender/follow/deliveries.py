"""All Deliveries that are followed, in a private temporary file: their number does not count towards the memory."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from sender.follow.books import FateBooks
from sender.follow.delivery import Delivery
from sender.follow.news import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TABLE: Final = """
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY, run INTEGER NOT NULL, job TEXT, kind TEXT, at REAL, facts TEXT, open INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE INDEX accepted ON deliveries (at, open);
"""
_FIND: Final = """
SELECT id, run, job, kind, at, facts FROM deliveries WHERE id IN (SELECT value FROM json_each(?))
"""


class Known(NamedTuple):
    """A delivery and the number of the run that made it."""

    run: int
    delivery: Delivery


class Deliveries:
    """Those of all runs, and the books over them."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLE)
        self.books = FateBooks()

    def __len__(self) -> int:
        return self.books.heard

    def add(self, run: int, deliveries: Iterable[Delivery]) -> int:
        """Take up those that are not known yet; returns their number."""
        new = 0
        self._db.execute("BEGIN")
        for one in deliveries:
            row = (one.id, run, one.job, one.kind, one.accepted_at)
            if self._db.execute("INSERT OR IGNORE INTO deliveries (id, run, job, kind, at) VALUES (?, ?, ?, ?, ?)", row
                                ).rowcount:
                self.books.enter(None, one)
                new += 1
        self._db.execute("COMMIT")
        return new

    def find(self, ids: Iterable[str]) -> dict[str, Known]:
        """What is known of these; of those that are not ours nothing."""
        rows = self._db.execute(_FIND, (orjson.dumps(list(ids)).decode(),))
        return {row[0]: Known(row[1], _delivery(row)) for row in rows}

    def put(self, changed: Sequence[tuple[Delivery, Delivery]]) -> None:
        """More is known of these: as each was, and as it is."""
        self._db.execute("BEGIN")
        for before, after in changed:
            self.books.enter(before, after)
            self._db.execute(
                "UPDATE deliveries SET kind = ?, at = ?, facts = ?, open = ? WHERE id = ?",
                (after.kind, after.accepted_at, _facts(after), after.standing.fate == "open", after.id),
            )
        self._db.execute("COMMIT")

    def accepted(self) -> Iterator[tuple[float, bool]]:
        """Times of acceptance in order, each with whether that delivery is open."""
        for at, is_open in self._db.execute("SELECT at, open FROM deliveries WHERE at IS NOT NULL ORDER BY at"):
            yield at, bool(is_open)

    def open_between(self, first: float, last: float, most: int) -> list[str]:
        """Deliveries that are open, the oldest first."""
        sql = "SELECT id FROM deliveries WHERE open AND at >= ? AND at <= ? ORDER BY at LIMIT ?"
        return [name for (name,) in self._db.execute(sql, (first, last, most))]

    def undated(self, most: int) -> list[str]:
        """Deliveries that are open and of which nobody told when they were accepted."""
        return [name for (name,) in self._db.execute("SELECT id FROM deliveries WHERE open AND at IS NULL LIMIT ?",
                                                     (most,))]

    def kinds(self) -> list[str | None]:
        """The kinds that there are."""
        return [kind for (kind,) in self._db.execute("SELECT DISTINCT kind FROM deliveries")]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _facts(delivery: Delivery) -> str:
    reasons = {word: (reason.code, reason.text) for word, reason in delivery.reasons.items()}
    return orjson.dumps([dict(delivery.metrics), reasons, delivery.domain]).decode()


def _delivery(row: tuple[str, int, str | None, str | None, float | None, str | None]) -> Delivery:
    name, _, job, kind, at, facts = row
    if facts is None:
        return Delivery(name, job, kind, at)
    metrics, reasons, domain = orjson.loads(facts)
    return Delivery(name, job, kind, at, metrics, {word: Reason(*one) for word, one in reasons.items()}, domain)
