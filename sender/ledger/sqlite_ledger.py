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
from typing import TYPE_CHECKING, Final

import orjson

from sender.errors import HaltError, OutputError, UsageError
from sender.ledger import sqlite_facts as facts
from sender.ledger import sqlite_statements as statements
from sender.ledger.group_commit import GroupCommit
from sender.ledger.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord, Ledger
from sender.ledger.sqlite_schema import connect, lock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from sender.ledger.ledger_view import StoredJob

PAGE: Final = 500


class SqliteLedger(Ledger):
    """Open it with `await SqliteLedger.open(...)`."""

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
        self._handed_over = False
        self._commits = GroupCommit(connection, path, lambda db: statements.forget_logged(db, self._logged))

    @classmethod
    async def open(cls, path: Path, host: str | None, *, durability: str = "full") -> SqliteLedger:
        """Open or create the ledger for one run; UsageError when it cannot be used, in a sentence for the user.

        `host` is the API's; without one it takes the one that the ledger knows.
        """
        handle = lock(path)
        try:
            connection = connect(path, durability)
            return cls(connection, path, handle, facts.begin_run(connection, path, host))
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
        rows = await self._commits.read(partial(statements.find, keys=_json(keys)))
        return {
            key: JobRecord(state, content, run, bool(resendable))
            for key, state, content, run, resendable in orjson.loads(rows)
        }

    async def hand_over(self, records: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        jobs = _json([(record.key, record.content, record.detail.decode()) for record in records])
        now = repr(time.time())
        self._handed_over = True

        def write(db: sqlite3.Connection) -> None:
            statements.hand_over(db, jobs, self.run)
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
        if keys:
            await self._commits.write(partial(statements.release, keys=_json(keys), run=self.run))

    async def finish(self, records: Sequence[FinalRecord]) -> int:
        jobs = [
            (record.key, record.content, record.state, int(record.resendable), record.result,
             None if record.detail is None else record.detail.decode())
            for record in records
        ]
        lines = _json([record.line.decode() for record in records])
        states = _json(Counter({record.key: record.state for record in records}.values()))
        return await self._commits.write(
            partial(statements.finish, jobs=_json(jobs), states=states, lines=lines, run=self.run)
        )

    async def adopt(self, jobs: Sequence[StoredJob]) -> int:
        """Take over what another memory knows of jobs that are unknown here; returns their number.

        What that one left handed over is in doubt from now on.
        """
        rows = [one._replace(state="in_doubt") if one.state == "handed_over" else one for one in jobs]
        ordered = [(one.key, one.content, one.state, one.resendable, one.result, one.detail) for one in rows]
        return await self._commits.write(partial(statements.adopt, jobs=_json(ordered)))

    async def logged(self, upto: int) -> None:
        """See `Ledger.logged`; made durable with the next commit."""
        self._logged = max(self._logged, upto)

    async def unlogged(self) -> list[bytes]:
        return [line.encode() for (line,) in await self._commits.read(statements.unlogged)]

    async def last_seq(self) -> int:
        return await self._commits.read(statements.last_seq)

    async def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        select = statements.left_handed_over if earlier_runs_handed_over else statements.in_doubt
        after = ""
        while True:
            rows = await self._commits.read(partial(select, after=after, run=self.run, most=PAGE))
            for key, content, found, detail, resendable in rows:
                yield Doubt(key, content, found, (detail or "{}").encode(), bool(resendable))
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; scans the jobs once."""
        return set(orjson.loads(await self._commits.read(partial(statements.known_results, results=_json(results)))))

    async def count(self) -> dict[str, int]:
        return dict(await self._commits.read(statements.count))

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

        def write(db: sqlite3.Connection) -> None:
            facts.put(db, "clean", "1")
            if self._handed_over:  # what was handed over may have been written, after a pause, up to now
                facts.put(db, "last_hand_over", repr(time.time()))

        with suppress(OutputError):
            await self._commits.write(write)
        await self._commits.close()
        os.close(self._lock)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
