"""What holds of each delivery of a run: the last line of its id in the deliveries file. Kept in an unlinked file.

See docs/following.md, "The deliveries file".
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.follow.fate import FATES, MARKS
from sender.report.job_table import key_of
from sender.report.words import clean, clean_message

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH: Final = 5000
MOST_DOMAINS: Final = 30
MOST_REASONS: Final = 30
MOST_SECONDS: Final = 10 * 365 * 86400.0
_SCHEMA: Final = """
CREATE TABLE delivery (key BLOB PRIMARY KEY, fate TEXT DEFAULT 'open', bounce TEXT DEFAULT '', code TEXT DEFAULT '',
reason TEXT DEFAULT '', domain TEXT DEFAULT '', seconds REAL, marks INTEGER DEFAULT 0) WITHOUT ROWID
"""
_TELL: Final = """
UPDATE delivery SET fate = ?, bounce = ?, code = ?, reason = ?, domain = ?, seconds = ?, marks = ? WHERE key = ?
"""


class DomainRow(NamedTuple):
    """The deliveries to one domain."""

    domain: str
    deliveries: int
    delivered: int
    hard: int
    soft: int
    other: int
    """Bounces of which nobody told whether they are hard."""
    dropped: int


class ReasonRow(NamedTuple):
    """Deliveries that came back, or were held back, for the same reason."""

    fate: str
    code: str
    bounce: str
    deliveries: int
    reason: str
    """One of them."""


class FateTable:
    """First all that was accepted, then what became of it; then it is asked."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # an empty name is a private temporary database, on disk when it grows
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(_SCHEMA)
        self._accepted: list[tuple[bytes]] = []
        self._told: list[tuple[Any, ...]] = []

    def accept(self, delivery_id: str) -> None:
        """The API has accepted this one; it is open until more is told."""
        self._accepted.append((key_of(delivery_id),))
        if len(self._accepted) >= BATCH:
            self._write()

    def tell(self, line: dict[str, Any]) -> None:
        """A line of the deliveries file, in its order; what is no such line, or not of this run, changes nothing."""
        delivery_id, fate = line.get("delivery_id"), line.get("fate")
        if not isinstance(delivery_id, str) or fate not in FATES:
            return
        metrics = line.get("metrics")
        marks = sum(1 << place for place, mark in enumerate(MARKS) if isinstance(metrics, dict) and mark in metrics)
        seconds = _seconds(line) if fate == "delivered" and line.get("metric") in ("delivered", "sent") else None
        bounce = line.get("bounce")
        self._told.append((
            fate, bounce if bounce in ("hard", "soft") else "", _text(line.get("code"), 20),
            clean_message(line.get("reason")), _text(line.get("domain"), 80), seconds, marks, key_of(delivery_id),
        ))
        if len(self._told) >= BATCH:
            self._write()

    def counts(self) -> dict[str, int]:
        """Deliveries by fate; all of FATES."""
        return dict.fromkeys(map(str, FATES), 0) | dict(self._ask("SELECT fate, COUNT(*) FROM delivery GROUP BY fate"))

    def bounces(self) -> dict[str, int]:
        """Bounces that are hard, soft, or neither as far as anybody told."""
        found = dict(self._ask("SELECT bounce, COUNT(*) FROM delivery WHERE fate = 'bounced' GROUP BY bounce"))
        return {"hard": found.get("hard", 0), "soft": found.get("soft", 0), "unknown": found.get("", 0)}

    def marks(self) -> dict[str, int]:
        """Deliveries that were opened, clicked and so on."""
        found = dict.fromkeys(map(str, MARKS), 0)
        for marks, count in self._ask("SELECT marks, COUNT(*) FROM delivery WHERE marks > 0 GROUP BY marks"):
            for place, mark in enumerate(MARKS):
                found[mark] += count if marks >> place & 1 else 0
        return found

    def domains(self) -> list[DomainRow]:
        """The domains with the most that was not delivered, then those with the most deliveries."""
        query = """
            SELECT domain, COUNT(*), SUM(fate = 'delivered'), SUM(fate = 'bounced' AND bounce = 'hard'),
                SUM(fate = 'bounced' AND bounce = 'soft'), SUM(fate = 'bounced' AND bounce = ''), SUM(fate = 'dropped')
            FROM delivery WHERE domain != '' GROUP BY domain
            ORDER BY SUM(fate IN ('bounced', 'dropped', 'failed')) DESC, COUNT(*) DESC, domain LIMIT ?
        """
        return [DomainRow(*row) for row in self._ask(query, MOST_DOMAINS)]

    def reasons(self) -> list[ReasonRow]:
        """Why deliveries came back or were held back, the most frequent first."""
        query = """
            SELECT fate, code, bounce, COUNT(*), MIN(reason) FROM delivery
            WHERE fate IN ('bounced', 'dropped', 'failed') GROUP BY fate, code, bounce
            ORDER BY COUNT(*) DESC, fate, code LIMIT ?
        """
        return [ReasonRow(*row) for row in self._ask(query, MOST_REASONS)]

    def seconds(self) -> Iterator[float]:
        """From the acceptance of each delivery to its arrival."""
        for (seconds,) in self._ask("SELECT seconds FROM delivery WHERE seconds IS NOT NULL"):
            yield seconds

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def _ask(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        self._write()
        yield from self._db.execute(query, values)

    def _write(self) -> None:
        self._db.executemany("INSERT OR IGNORE INTO delivery (key) VALUES (?)", self._accepted)
        self._db.executemany(_TELL, self._told)
        self._accepted.clear()
        self._told.clear()


def _text(value: Any, most: int) -> str:
    return clean(value, most) if isinstance(value, str) else ""


def _seconds(line: dict[str, Any]) -> float | None:
    try:
        accepted, arrived = (datetime.fromisoformat(str(line.get(name))[:40]) for name in ("accepted_at", "at"))
        seconds = (arrived - accepted).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(0.0, seconds) if seconds < MOST_SECONDS else None
