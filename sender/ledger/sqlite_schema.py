"""The file of a SQLite ledger: its tables, its lock, and how it is opened."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 3
BEFORE: Final = 2
"""The version without journal and blocks: it is read as it is, and given the tables that are missing."""
_SYNCHRONOUS: Final[dict[str, str]] = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, content TEXT NOT NULL, run INTEGER NOT NULL,
    resendable INTEGER NOT NULL DEFAULT 1, result TEXT, detail TEXT
) WITHOUT ROWID;
CREATE INDEX doubts ON jobs (key) WHERE state = 'in_doubt';
CREATE TABLE held (key TEXT PRIMARY KEY, content TEXT NOT NULL, run INTEGER NOT NULL, detail TEXT) WITHOUT ROWID;
CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL);
CREATE TABLE tally (state TEXT PRIMARY KEY, jobs INTEGER NOT NULL) WITHOUT ROWID;
"""
_SINCE_3: Final = """
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY, what TEXT NOT NULL, run INTEGER NOT NULL, jobs TEXT NOT NULL,
    states TEXT, upto INTEGER, lines BLOB
);
CREATE TABLE blocks (
    digest BLOB PRIMARY KEY, run INTEGER NOT NULL, lines BLOB NOT NULL, left_over INTEGER NOT NULL
) WITHOUT ROWID;
"""


def lock(path: Path) -> int:
    """Create the file and hold it for this run; the lock goes with the process, however it ends."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"the ledger {path} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UsageError(
            f"the ledger {path} is in use by another run: wait for its end"
        ) from None
    return handle


def connect(path: Path, durability: str) -> sqlite3.Connection:
    """Open the file and make its tables; UsageError when it is no ledger."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            db.executescript(f"BEGIN; {_SCHEMA} {_SINCE_3} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version == BEFORE:
            db.executescript(f"BEGIN; {_SINCE_3} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise UsageError(
                f"{path} is not a ledger of this version of sender (it says {version}, not {VERSION}): "
                "use another --ledger"
            )
        db.execute("PRAGMA journal_mode = WAL")  # only now: its log begins with the first run, not with the tables
    except sqlite3.Error as error:
        raise UsageError(unusable(path, error)) from None
    return db


def in_memory() -> sqlite3.Connection:
    """A ledger's tables, empty, that nobody else sees."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.executescript(_SCHEMA + _SINCE_3)
    return db


def unusable(path: Path, error: sqlite3.Error) -> str:
    """The sentence for a user whose ledger SQLite refuses."""
    return f"the ledger {path} cannot be used ({error}): name another --ledger, or make it writable"
