"""All Deliveries that are followed, in a private temporary file: their number does not count towards the memory."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from sender.errors import OutputError
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
_ADD: Final = "INSERT OR IGNORE INTO deliveries (id, run, job, kind, at) VALUES (?, ?, ?, ?, ?)"
_PUT: Final = "UPDATE deliveries SET kind = ?, at = ?, facts = ?, open = ? WHERE id = ?"
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
        """Take up those that are not known yet; returns their number. OutputError when there is no room for them."""
        new = []
        with self._transaction():
            for one in deliveries:
                row = (one.id, run, one.job, one.kind, one.accepted_at)
                if self._db.execute(_ADD, row).rowcount:
                    new.append(one)
        for one in new:
            self.books.enter(None, one)
        return len(new)

    def find(self, ids: Iterable[str]) -> dict[str, Known]:
        """What is known of these; of those that are not ours nothing."""
        rows = self._db.execute(_FIND, (orjson.dumps(list(ids)).decode(),))
        return {row[0]: Known(row[1], _delivery(row)) for row in rows}

    def put(self, changed: Sequence[tuple[Delivery, Delivery]]) -> None:
        """More is known of these: as each was, and as it is. OutputError when there is no room for it."""
        with self._transaction():
            self._db.executemany(_PUT, [
                (after.kind, after.accepted_at, _facts(after), after.standing.fate == "open", after.id)
                for _, after in changed
            ])
        for before, after in changed:
            self.books.enter(before, after)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        try:
            self._db.execute("BEGIN")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise OutputError(
                f"the temporary file of what is followed cannot be written ({error}): make room where TMPDIR points, "
                "or have it point elsewhere; then run the same command again"
            ) from None

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
