"""The ledger in one SQLite file (mode 0600, write-ahead log).

Durability, by `durability`:

* `full` (default): every commit is synced to the disk; survives a power loss.
* `normal`: commits reach the kernel; survives the process (kill -9), not the machine.
* `off`: as `normal` for this program, and a machine crash may cost the whole file.

One thread owns the connection. What waits for it is committed together (group commit), so the cost of a commit is
shared by all that is under way. Jobs that are handed over stand in a small table of their own, a few pages for many
of them; only ends go to the large one, where every key has its own page. Batches go to SQLite as one JSON text and
come back as one: each step of a statement lets go of Python's lock and takes it again, which for hundreds of rows
beside a busy event loop would crawl.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from sender.errors import OutputError, UsageError
from sender.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

Durability = Literal["full", "normal", "off"]

VERSION: Final = 2
PAGE: Final = 500
_SYNCHRONOUS: Final[dict[Durability, str]] = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}

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
CREATE VIEW standings AS
    SELECT held.key, 'handed_over' AS state, held.content, held.run, coalesce(jobs.resendable, 1) AS resendable
    FROM held LEFT JOIN jobs USING (key)
    UNION ALL
    SELECT key, state, content, run, resendable FROM jobs WHERE key NOT IN (SELECT key FROM held);
"""
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
_SETTLE_NEW: Final = """
INSERT INTO jobs (key, content, state, run, resendable, result, detail)
SELECT value ->> 0, value ->> 1, value ->> 2, ?2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?1)
"""
_SETTLE: Final = f"""{_SETTLE_NEW} WHERE true
ON CONFLICT (key) DO UPDATE SET
    content = excluded.content, state = excluded.state, run = excluded.run, resendable = excluded.resendable,
    result = coalesce(excluded.result, result), detail = excluded.detail
"""
_LET_GO: Final = "DELETE FROM held WHERE key IN (SELECT value ->> 0 FROM json_each(?))"
_FIND: Final = """
SELECT json_group_array(json_array(wanted.value, iif(held.key IS NULL, jobs.state, 'handed_over'),
    coalesce(held.content, jobs.content), coalesce(held.run, jobs.run), coalesce(jobs.resendable, 1)))
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


class Api(NamedTuple):
    """The API that a ledger belongs to."""

    host: str
    workspace: str | None = None
    """None while it is not known."""


class SqliteLedger:
    """See `sender.ledger.Ledger`; open it with `await SqliteLedger.open(...)`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: int) -> None:
        self._connection = connection
        self._path = path
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._broken: OutputError | None = None
        self._logged = 0
        self._handed_over = False
        self.run = 0
        self.was_clean = True
        """Whether the run before this one ended in order."""
        self.last_hand_over: float | None = None
        """Unix seconds of the last hand-over before this run."""
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self.commits = 0
        self.commit_s = 0.0
        """Seconds spent in commits, this run."""

    @classmethod
    async def open(cls, path: Path, api: Api | None, *, durability: Durability = "full") -> SqliteLedger:
        """Open or create the ledger for one run; UsageError when it cannot be used, in a sentence for the user.

        Without an `api` it takes the one that the ledger knows.
        """
        lock = _lock(path)
        try:
            ledger = cls(_connect(path, durability), path, lock)
            ledger._begin(api)
        except BaseException:
            os.close(lock)
            raise
        ledger._thread.start()
        return ledger

    async def bind_workspace(self, name: str) -> None:
        """Say which workspace the key belongs to; UsageError when the ledger knows another."""
        known = await self.get_note("workspace")
        if known is not None and known.decode() != name:
            raise UsageError(
                f"the ledger {self._path} belongs to the workspace {known.decode()}, this key to {name}: "
                "use the other key, or another --ledger"
            )
        if known is None:
            await self.put_note("workspace", name.encode())

    async def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        """See `Ledger.find`."""
        if not keys:
            return {}
        rows = await self._read(lambda db: db.execute(_FIND, (orjson.dumps(keys).decode(),)).fetchone()[0])
        return {
            key: JobRecord(state, content, run, bool(resendable))
            for key, state, content, run, resendable in orjson.loads(rows)
        }

    async def hand_over(self, claims: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        """See `Ledger.hand_over`."""
        batch = orjson.dumps([(claim.key, claim.content, claim.detail.decode()) for claim in claims]).decode()
        now = repr(time.time())
        self._handed_over = True

        def write(db: sqlite3.Connection) -> None:
            db.execute(_HAND_OVER, (batch, self.run))
            _put(db, "last_hand_over", now)

        await self._write(write)
        return {}

    async def release(self, keys: Sequence[str]) -> None:
        """See `Ledger.release`."""
        if not keys:
            return
        batch = orjson.dumps(keys).decode()

        def write(db: sqlite3.Connection) -> None:
            db.execute(_RELEASE, (batch, self.run))

        await self._write(write)

    async def settle(self, entries: Sequence[FinalRecord]) -> int:
        """See `Ledger.settle`."""
        batch = orjson.dumps([
            (entry.key, entry.content, entry.state, int(entry.resendable), entry.result,
             None if entry.detail is None else entry.detail.decode())
            for entry in entries
        ]).decode()
        lines = orjson.dumps([entry.line.decode() for entry in entries]).decode()
        states = orjson.dumps(Counter({entry.key: entry.state for entry in entries}.values())).decode()

        def write(db: sqlite3.Connection) -> int:
            try:
                db.execute(_SETTLE_NEW, (batch, self.run))
            except sqlite3.IntegrityError:  # some had ended before: nothing of the statement stands
                db.execute(_COUNT_OUT, (batch,))
                db.execute(_SETTLE, (batch, self.run))
            db.execute(_COUNT_IN, (states,))
            db.execute(_LET_GO, (batch,))
            db.execute("INSERT INTO outbox (line) SELECT value FROM json_each(?)", (lines,))
            return int(db.execute("SELECT max(seq) FROM outbox").fetchone()[0])

        return int(await self._write(write))

    async def logged(self, upto: int) -> None:
        """See `Ledger.logged`; made durable with the next commit."""
        self._logged = max(self._logged, upto)

    async def unlogged(self) -> list[bytes]:
        """See `Ledger.unlogged`."""
        rows = await self._read(lambda db: db.execute("SELECT line FROM outbox ORDER BY seq").fetchall())
        return [row[0].encode() for row in rows]

    async def last_seq(self) -> int:
        """Number of the newest line in the outbox; 0 when it is empty."""
        return int(await self._read(lambda db: db.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()[0]))

    async def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        """See `Ledger.doubts`."""
        sql, before_run = (_LEFT_HELD, self.run) if earlier_runs_handed_over else (_IN_DOUBT, self.run + 1)
        after = ""
        while True:
            query = (after, before_run, PAGE)
            rows = await self._read(lambda db, query=query: db.execute(sql, query).fetchall())  # type: ignore[misc]
            for key, content, found, detail, resendable in rows:
                yield Doubt(key, content, found, (detail or "{}").encode(), bool(resendable))
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; scans the jobs once."""
        batch = orjson.dumps(results).decode()
        sql = "SELECT json_group_array(result) FROM jobs WHERE result IN (SELECT value FROM json_each(?))"
        return set(orjson.loads(await self._read(lambda db: db.execute(sql, (batch,)).fetchone()[0])))

    async def count(self) -> dict[str, int]:
        """See `Ledger.count`."""
        return dict(await self._read(lambda db: db.execute(_TOTALS).fetchall()))

    async def get_note(self, name: str) -> bytes | None:
        """See `Ledger.get_note`."""
        value = await self._read(lambda db: _get(db, name))
        return None if value is None else value.encode()

    async def put_note(self, name: str, value: bytes) -> None:
        """See `Ledger.put_note`."""
        await self._write(lambda db: _put(db, name, value.decode()))

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        """See `Ledger.swap_note`."""

        def write(db: sqlite3.Connection) -> bool:
            if _get(db, name) != (None if expected is None else expected.decode()):
                return False
            if new is None:
                db.execute("DELETE FROM facts WHERE name = ?", (name,))
            else:
                _put(db, name, new.decode())
            return True

        return bool(await self._write(write))

    async def close(self) -> None:
        """See `Ledger.close`."""

        def write(db: sqlite3.Connection) -> None:
            _put(db, "clean", "1")
            if self._handed_over:  # what was handed over may have been written, after a pause, up to now
                _put(db, "last_hand_over", repr(time.time()))

        with suppress(OutputError):
            await self._write(write)
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()
        os.close(self._lock)

    def _begin(self, api: Api | None) -> None:
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE")
            known = _get(db, "host")
            if api is None:
                pass
            elif known is None:
                _put(db, "host", api.host)
                if api.workspace is not None:
                    _put(db, "workspace", api.workspace)
            elif known != api.host:
                raise UsageError(
                    f"the ledger {self._path} belongs to the API at {known}, this run goes to {api.host}: "
                    "use another --ledger (and --outcomes)"
                )
            self.run = int(_get(db, "run") or 0) + 1
            self.was_clean = _get(db, "clean") != "0"
            stamp = _get(db, "last_hand_over")
            self.last_hand_over = None if stamp is None else float(stamp)
            _put(db, "run", str(self.run))
            _put(db, "clean", "0")
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise UsageError(_unusable(self._path, error)) from None

    async def _read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self._submit(work, writes=False)

    async def _write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if self._broken is not None:
            raise self._broken
        return await self._submit(work, writes=True)

    def _submit(self, work: Callable[[sqlite3.Connection], Any], *, writes: bool) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._jobs.put(_Job(work, future, writes))
        return future

    def _work(self) -> None:
        """The thread: take all that waits, commit it once, tell everybody."""
        while True:
            batch = [self._jobs.get()]
            while not self._jobs.empty():
                batch.append(self._jobs.get())
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._commit(jobs)
            if None in batch:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        db = self._connection
        results: list[Any] = []
        error: Exception | None = None
        begin = time.perf_counter()
        try:
            if any(job.writes for job in jobs):
                if self._broken is not None:
                    raise self._broken
                db.execute("BEGIN IMMEDIATE")
                if self._logged:
                    db.execute("DELETE FROM outbox WHERE seq <= ?", (self._logged,))
            results = [job.work(db) for job in jobs]
            if db.in_transaction:
                db.execute("COMMIT")
                self.commits += 1
                self.commit_s += time.perf_counter() - begin
        except (sqlite3.Error, OutputError) as failure:
            error = self._fail(failure)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_tell, jobs, results, error)

    def _fail(self, failure: Exception) -> OutputError:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        if not isinstance(failure, OutputError):
            failure = OutputError(
                f"the ledger {self._path} cannot be written ({failure}): nothing further was sent. "
                "Make room or mend the disk, then run the same command again"
            )
        self._broken = failure
        return failure


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    writes: bool


def _tell(jobs: list[_Job], results: list[Any], error: Exception | None) -> None:
    for number, job in enumerate(jobs):
        if job.future.done():
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(results[number])


def _get(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _put(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value))


def _lock(path: Path) -> int:
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
            f"the ledger {path} is in use by another run: wait for its end, or give this one another --ledger"
        ) from None
    return handle


def _connect(path: Path, durability: Durability) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise UsageError(
                f"{path} is not a ledger of this version of sender (it says {version}, not {VERSION}): "
                "use another --ledger"
            )
    except sqlite3.Error as error:
        raise UsageError(_unusable(path, error)) from None
    return db


def _unusable(path: Path, error: sqlite3.Error) -> str:
    return f"the ledger {path} cannot be used ({error}): name another --ledger, or make it writable"
