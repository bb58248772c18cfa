"""The table of blocks: which lines of the inputs stand as sent, so that they need not be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from sender.jobs.sent_block import SentBlock

_FIND: Final = "SELECT lines, left_over FROM blocks WHERE digest = ? AND run < ?"
_PUT: Final = """
INSERT INTO blocks (digest, run, lines, left_over) VALUES (?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET run = excluded.run, lines = excluded.lines, left_over = excluded.left_over
WHERE excluded.left_over < left_over
"""


def find(db: sqlite3.Connection, digest: bytes, run: int) -> tuple[int, int] | None:
    """The lines of a block and how many others there are, as runs before this one noted them."""
    row = db.execute(_FIND, (digest, run)).fetchone()
    return None if row is None else (int.from_bytes(row[0], "little"), row[1])


def put(db: sqlite3.Connection, sent: Sequence[SentBlock], run: int) -> None:
    """Note these; of a block that was noted before, the note that leaves fewer lines stands."""
    for digest, lines, left in sent:
        db.execute(_PUT, (digest, run, lines.to_bytes((lines.bit_length() + 7) // 8, "little"), left))
