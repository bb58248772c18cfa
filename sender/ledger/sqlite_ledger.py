"""The ledger in one SQLite file (mode 0600, write-ahead log).

Durability, by `durability`:

* `full` (default): every commit is synced to the disk; survives a power loss.
* `normal`: commits reach the kernel; survives the process (kill -9), not the machine.
* `off`: as `normal` for this program, and a machine crash may cost the whole file.

What waits for the file is committed together (group commit), so the cost of a commit is shared by all that is under
way.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import orjson

from sender.errors import HaltError, OutputError, UsageError
from sender.jobs.sent_block import SentBlock
from sender.ledger import sqlite_blocks as blocks
from sender.ledger import sqlite_facts as facts
from sender.ledger import sqlite_journal as journal
from sender.ledger import sqlite_statements as statements
from sender.ledger.group_commit import GroupCommit
from sender.ledger.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord, Ledger
from sender.ledger.recent_jobs import RecentJobs
from sender.ledger.sqlite_schema import connect, lock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from sender.ledger.ledger_view import StoredJob

PAGE: Final = 500
T = TypeVar("T")


class SqliteLedger(Ledger):
    """Open it with `await SqliteLedger.open(...)`."""

    shares_commits = True

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: int, beginning: facts.Beginning) -> None:
        self.run = beginning.run
        self.was_clean = beginning.was_clean
        """Whether the run before this one ended in order."""
        self.last_hand_over = beginning.last_hand_over
        """Unix seconds of the last hand-over before this run."""
        self.after_hand_over: Callable[[Sequence[HandOverRecord]], Awaitable[None]] | None = None
        """Called when a hand-over is durable; raises to take it back."""
        self._path = path
        self._lock = lock
        self._logged = 0
        self._forgotten = 0
        """What of that the file knows."""
        self._asked = 0
        """Changes that were asked for."""
        self._handed_over = False
        self._number = journal.last_number(connection)
        """Of the last line that was finished."""
        self._recent = RecentJobs(self.run)
        self._direct = statements.any_held(connection)
        """Whether there is no journal: not before all that earlier runs left handed over is settled."""
        self._commits = GroupCommit(connection, path, self._forget_logged)

    @classmethod
    async def open(cls, path: Path, host: str | None, *, durability: str = "full") -> SqliteLedger:
        """Open or create the ledger for one run; UsageError when it cannot be used, in a sentence for the user.

        `host` is the API's; without one it takes the one that the ledger knows.
        """
        handle = lock(path)
        try:
            connection = connect(path, durability)
            beginning = facts.begin_run(connection, path, host)
            journal.recover(connection, path)
            return cls(connection, path, handle, beginning)
        except BaseException:
            os.close(handle)
            raise

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
        if not keys:
            return {}
        find = partial(statements.find, keys=_json(keys))
        recent = {} if self._commits.broken else self._recent.find(keys)
        rows = await (self._read_whole(find) if self._commits.broken else self._commits.read(find))
        found = {
            key: JobRecord(state, content, run, bool(resendable), result=result, error=error)
            for key, state, content, run, resendable, result, error in orjson.loads(rows)
        }
        for key, (handed_over, ended) in recent.items():
            before = ended or found.get(key)
            if handed_over is None and before is not None:
                found[key] = before
            elif handed_over is not None:
                found[key] = JobRecord("handed_over", handed_over, self.run, before is None or before.resendable)
        return found

    async def hand_over(self, records: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        jobs, into = _rows(records), self._journal_or_tables()
        now = repr(time.time())
        self._handed_over = True
        self._recent.hand_over(() if self._direct else records)

        def write(db: sqlite3.Connection) -> None:
            into.hand_over(db, jobs, self.run)
            facts.put(db, "last_hand_over", now)

        await self._commits.write(write)
        if self.after_hand_over is not None:
            try:
                await self.after_hand_over(records)
            except HaltError:
                await self.release([record.key for record in records])
                raise
        return {}

    async def release(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        text, into = _json(keys), self._journal_or_tables()
        self._recent.release(() if self._direct else keys)
        fold = self._fold_if_due()

        def write(db: sqlite3.Connection) -> None:
            into.release(db, text, self.run)
            fold(db)

        await self._commits.write(write)

    async def finish(self, records: Sequence[FinalRecord]) -> int:
        jobs = _json([
            (record.key, record.content, record.state, int(record.resendable), record.result,
             None if record.detail is None else record.detail.decode())
            for record in records
        ])
        states = _json(Counter({record.key: record.state for record in records}.values()))
        lines = [record.line for record in records]
        if self._direct:
            return await self._finish_directly(jobs, states, lines)
        self._number += len(lines)
        number = self._number
        self._recent.finish(records)
        fold = self._fold_if_due()

        def write(db: sqlite3.Connection) -> None:
            journal.finish(db, jobs, states, b"".join(lines), number, self.run)
            fold(db)

        await self._commits.write(write)
        return number

    async def _finish_directly(self, jobs: str, states: str, lines: Sequence[bytes]) -> int:
        """Into the tables; once nothing is handed over there any more, a journal is kept."""
        self._asked += 1
        asked, text = self._asked, _json([line.decode() for line in lines])

        def write(db: sqlite3.Connection) -> tuple[int, bool]:
            return statements.finish(db, jobs, states, text, self.run), statements.any_held(db)

        number, held = await self._commits.write(write)
        self._number = max(self._number, number)
        if not held and self._asked == asked:
            self._direct = False
        return number

    def _journal_or_tables(self) -> _Tables:
        self._asked += 1
        return statements if self._direct else journal

    def _fold_if_due(self) -> Callable[[sqlite3.Connection], None]:
        return self._fold() if self._recent.due else _keep

    def _fold(self) -> Callable[[sqlite3.Connection], None]:
        """Has the tables know all ends that were asked for up to now."""
        held = _rows(self._recent.held)
        self._recent.folded()

        def fold(db: sqlite3.Connection) -> None:
            begin = time.monotonic()
            journal.fold(db, held, self.run)
            self._recent.took(time.monotonic() - begin)

        return fold

    async def _read_whole(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What a function finds in tables that know all."""
        if self._commits.broken:
            return await self._commits.read(partial(journal.peek, function=function))
        if not self._recent.pending:
            return await self._commits.read(function)
        held = _rows(self._recent.held)
        self._recent.folded()
        return await self._commits.write(lambda db: journal.whole(db, held, self.run, function))

    def _forget_logged(self, db: sqlite3.Connection) -> None:
        logged = self._logged
        if logged > self._forgotten:
            statements.forget_logged(db, logged)
            journal.forget_logged(db, logged)
            self._forgotten = logged

    async def adopt(self, jobs: Sequence[StoredJob]) -> int:
        """Take over what another memory knows of jobs that are unknown here; returns their number.

        What that one left handed over is in doubt from now on.
        """
        rows = [one._replace(state="in_doubt") if one.state == "handed_over" else one for one in jobs]
        ordered = [(one.key, one.content, one.state, one.resendable, one.result, one.detail) for one in rows]
        adopt = partial(statements.adopt, jobs=_json(ordered))
        return await (self._read_whole(adopt) if self._recent.pending else self._commits.write(adopt))

    async def sent_block(self, digest: bytes) -> SentBlock | None:
        """See `sender.inputs.sent_lines.BlockMemory`."""
        row = await self._commits.read(partial(blocks.find, digest=digest, run=self.run))
        return None if row is None else SentBlock(digest, *row)

    async def put_sent_blocks(self, sent: Sequence[SentBlock]) -> None:
        """See `sender.inputs.sent_lines.BlockMemory`."""
        await self._commits.write(partial(blocks.put, sent=sent, run=self.run))

    async def logged(self, upto: int) -> None:
        """See `Ledger.logged`; made durable with the next commit."""
        self._logged = max(self._logged, upto)

    async def unlogged(self) -> list[bytes]:
        def read(db: sqlite3.Connection) -> list[bytes]:
            lines = [*(line for (line,) in statements.unlogged(db)), *(line for _, line in journal.unlogged(db))]
            return [line.encode() for line in lines]

        return await self._commits.read(read)

    async def last_seq(self) -> int:
        def read(db: sqlite3.Connection) -> int:
            waiting = journal.unlogged(db)
            return waiting[-1][0] if waiting else statements.last_seq(db)

        return await self._commits.read(read)

    async def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        select = statements.left_handed_over if earlier_runs_handed_over else statements.in_doubt
        after = ""
        while True:
            rows = await self._read_whole(partial(select, after=after, run=self.run, most=PAGE))
            for key, content, found, detail, resendable in rows:
                yield Doubt(key, content, found, (detail or "{}").encode(), bool(resendable))
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; scans the jobs once."""
        found = await self._read_whole(partial(statements.known_results, results=_json(results)))
        return set(orjson.loads(found))

    async def count(self) -> dict[str, int]:
        return dict(await self._read_whole(statements.count))

    async def get_note(self, name: str) -> bytes | None:
        value = await self._commits.read(partial(facts.get, name=name))
        return None if value is None else value.encode()

    async def put_note(self, name: str, value: bytes) -> None:
        await self._commits.write(partial(facts.put, name=name, value=value.decode()))

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        before, after = (None if value is None else value.decode() for value in (expected, new))
        return await self._commits.write(partial(facts.swap, name=name, expected=before, new=after))

    async def close(self) -> None:
        """See `Ledger.close`."""

        fold = self._fold()

        def write(db: sqlite3.Connection) -> None:
            fold(db)
            journal.take_in(db)
            facts.put(db, "clean", "1")
            if self._handed_over:  # what was handed over may have been written, after a pause, up to now
                facts.put(db, "last_hand_over", repr(time.time()))

        with suppress(OutputError):
            await self._commits.write(write)
        await self._commits.close()
        os.close(self._lock)


class _Tables(Protocol):
    """Where what is handed over and released is written: `sqlite_journal` or `sqlite_statements`."""

    def hand_over(self, db: sqlite3.Connection, jobs: str, run: int) -> None: ...

    def release(self, db: sqlite3.Connection, keys: str, run: int) -> None: ...


def _keep(db: sqlite3.Connection) -> None:
    """The journal goes on."""


def _rows(records: Sequence[HandOverRecord]) -> str:
    return _json([(record.key, record.content, record.detail.decode()) for record in records])


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
