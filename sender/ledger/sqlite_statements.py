"""What a SQLite ledger reads and writes: functions of its connection, all of one batch at once.

Batches go to SQLite as one JSON text and come back as one: each step of a statement lets go of Python's lock and
takes it again, which for hundreds of rows beside a busy event loop would crawl. Jobs that are handed over stand in a
small table of their own (`held`), a few pages for many of them; only ends go to the large one, where every key has
its own page.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

_HAND_OVER: Final = """
INSERT INTO held (key, content, run, detail)
SELECT value ->> 0, value ->> 1, ?2, value ->> 2 FROM json_each(?1) WHERE true
ON CONFLICT (key) DO UPDATE SET content = excluded.content, detail = excluded.detail
"""
"""What an earlier run left handed over stays that run's: no release of ours may make it unknown."""
_RELEASE: Final = """
DELETE FROM held WHERE key IN (SELECT value FROM json_each(?1))
    AND (run = ?2 OR EXISTS (SELECT 1 FROM jobs WHERE jobs.key = held.key))
"""
_COUNT_OUT: Final = """
INSERT INTO tally
SELECT state, -count(*) FROM jobs WHERE key IN (SELECT value ->> 0 FROM json_each(?)) GROUP BY state
ON CONFLICT (state) DO UPDATE SET jobs = jobs + excluded.jobs
"""
_COUNT_IN: Final = """
INSERT INTO tally SELECT key, value FROM json_each(?) WHERE true
ON CONFLICT (state) DO UPDATE SET jobs = jobs + excluded.jobs
"""
_FINISH_NEW: Final = """
INSERT INTO jobs (key, content, state, run, resendable, result, detail)
SELECT value ->> 0, value ->> 1, value ->> 2, ?2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?1)
"""
_FINISH: Final = f"""{_FINISH_NEW} WHERE true
ON CONFLICT (key) DO UPDATE SET
    content = excluded.content, state = excluded.state, run = excluded.run, resendable = excluded.resendable,
    result = coalesce(excluded.result, result), detail = excluded.detail
"""
_FORGET_BLOCKS: Final = """
DELETE FROM blocks WHERE EXISTS (
    SELECT 1 FROM json_each(?) AS each JOIN jobs ON jobs.key = each.value ->> 0
    WHERE jobs.state = 'sent' AND each.value ->> 2 <> 'sent'
)
"""
"""Which lines stand as sent is noted with no job's key: when one is sent no longer, none is."""
_UNKNOWN: Final = """
SELECT json_group_array(json(value)) FROM json_each(?) AS other
WHERE NOT EXISTS (SELECT 1 FROM held WHERE key = other.value ->> 0)
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE key = other.value ->> 0 AND state <> 'failed')
"""
_STATES: Final = """
SELECT json_group_object(state, jobs)
FROM (SELECT value ->> 2 AS state, count(*) AS jobs FROM json_each(?) GROUP BY state)
"""
_LET_GO: Final = "DELETE FROM held WHERE key IN (SELECT value ->> 0 FROM json_each(?))"
_FIND: Final = """
SELECT json_group_array(json_array(wanted.value, iif(held.key IS NULL, jobs.state, 'handed_over'),
    coalesce(held.content, jobs.content), coalesce(held.run, jobs.run), coalesce(jobs.resendable, 1),
    jobs.result, jobs.detail -> '$.error'))
FROM json_each(?) AS wanted LEFT JOIN held ON held.key = wanted.value LEFT JOIN jobs ON jobs.key = wanted.value
WHERE held.key IS NOT NULL OR jobs.key IS NOT NULL
"""
_IN_DOUBT: Final = """
SELECT key, content, state, detail, resendable FROM jobs
WHERE state = 'in_doubt' AND key > ? AND run < ? AND key NOT IN (SELECT key FROM held) ORDER BY key LIMIT ?
"""
_LEFT_HELD: Final = """
SELECT key, held.content, 'handed_over', held.detail, coalesce(jobs.resendable, 1) FROM held LEFT JOIN jobs USING (key)
WHERE key > ? AND held.run < ? ORDER BY key LIMIT ?
"""
_TOTALS: Final = """
SELECT state, sum(jobs) FROM (
    SELECT state, jobs FROM tally
    UNION ALL SELECT 'handed_over', count(*) FROM held
    UNION ALL SELECT jobs.state, -count(*) FROM held JOIN jobs USING (key) GROUP BY jobs.state
) GROUP BY state HAVING sum(jobs) > 0
"""


def find(db: sqlite3.Connection, keys: str) -> str:
    """JSON rows of key, state, content, run, resendable, result, error; `keys` is a JSON list, as in all functions."""
    return str(db.execute(_FIND, (keys,)).fetchone()[0])


def hand_over(db: sqlite3.Connection, jobs: str, run: int) -> None:
    """Rows of key, content, detail."""
    db.execute(_HAND_OVER, (jobs, run))


def release(db: sqlite3.Connection, keys: str, run: int) -> None:
    """Take these out of the table of those that are handed over."""
    db.execute(_RELEASE, (keys, run))


def finish(db: sqlite3.Connection, jobs: str, states: str, lines: str, run: int) -> int:
    """Rows as for `end`; returns the last line's number."""
    end(db, jobs, states, run)
    let_go(db, jobs)
    db.execute("INSERT INTO outbox (line) SELECT value FROM json_each(?)", (lines,))
    return last_seq(db)


def end(db: sqlite3.Connection, jobs: str, states: str, run: int) -> None:
    """Rows of key, content, state, resendable, result, detail; how many each state."""
    try:
        db.execute(_FINISH_NEW, (jobs, run))
    except sqlite3.IntegrityError:  # some had ended before: nothing of the statement stands
        db.execute(_FORGET_BLOCKS, (jobs,))
        db.execute(_COUNT_OUT, (jobs,))
        db.execute(_FINISH, (jobs, run))
    db.execute(_COUNT_IN, (states,))


def let_go(db: sqlite3.Connection, jobs: str) -> None:
    """The same rows: these are handed over no longer."""
    db.execute(_LET_GO, (jobs,))


def any_held(db: sqlite3.Connection) -> bool:
    """Whether any job is handed over."""
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM held)").fetchone()[0])


def hold_nothing(db: sqlite3.Connection) -> None:
    """Empty the table of those that are handed over."""
    db.execute("DELETE FROM held")


def put_lines(db: sqlite3.Connection, lines: list[tuple[int, str]]) -> None:
    """Put lines with these numbers into the outbox."""
    db.executemany("INSERT INTO outbox (seq, line) VALUES (?, ?)", lines)


def adopt(db: sqlite3.Connection, jobs: str) -> int:
    """Rows as in `finish`, of another ledger: take over those that are unknown or failed here; returns their number."""
    unknown = str(db.execute(_UNKNOWN, (jobs,)).fetchone()[0])
    db.execute(_COUNT_OUT, (unknown,))
    db.execute(_FINISH, (unknown, 0))
    db.execute(_COUNT_IN, db.execute(_STATES, (unknown,)).fetchone())
    return int(db.execute("SELECT json_array_length(?)", (unknown,)).fetchone()[0])


def forget_logged(db: sqlite3.Connection, upto: int) -> None:
    """Take the lines up to this number out of the outbox."""
    if upto:
        db.execute("DELETE FROM outbox WHERE seq <= ?", (upto,))


def unlogged(db: sqlite3.Connection) -> list[tuple[str]]:
    """The lines in the outbox, oldest first."""
    return db.execute("SELECT line FROM outbox ORDER BY seq").fetchall()


def last_seq(db: sqlite3.Connection) -> int:
    """Number of the newest line in the outbox; 0 when it is empty."""
    return int(db.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()[0])


def last_given(db: sqlite3.Connection) -> int:
    """The greatest number that a line in the outbox ever had."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return int(row[0]) if row else 0


def in_doubt(db: sqlite3.Connection, after: str, run: int, most: int) -> list[Any]:
    """Rows of key, content, state, detail, resendable of the jobs in doubt, by key."""
    return db.execute(_IN_DOUBT, (after, run + 1, most)).fetchall()


def left_handed_over(db: sqlite3.Connection, after: str, run: int, most: int) -> list[Any]:
    """The same of the jobs that runs before this one left handed over."""
    return db.execute(_LEFT_HELD, (after, run, most)).fetchall()


def known_results(db: sqlite3.Connection, results: str) -> str:
    """JSON list of those that belong to a job; scans the jobs once."""
    sql = "SELECT json_group_array(result) FROM jobs WHERE result IN (SELECT value FROM json_each(?))"
    return str(db.execute(sql, (results,)).fetchone()[0])


def count(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """Rows of state, number of jobs."""
    return db.execute(_TOTALS).fetchall()
