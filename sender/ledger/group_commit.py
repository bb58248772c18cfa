"""GroupCommit: one thread owns a SQLite connection, and commits together what waits for it."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sender.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class GroupCommit:
    """Runs functions of the connection, in the order in which they were asked for.

    A failed write ends all writing: it and every later one raise OutputError. `before_write` runs first in every
    transaction.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, before_write: Callable[[sqlite3.Connection], None]
    ) -> None:
        self.connection = connection
        self.commits = 0
        self._path = path
        self._before_write = before_write
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._broken: OutputError | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def broken(self) -> bool:
        """Whether a write has failed."""
        return self._broken is not None

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns."""
        return await self._submit(function, writes=False)

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns, once what it wrote is committed."""
        if self._broken is not None:
            raise self._broken
        return await self._submit(function, writes=True)

    async def close(self) -> None:
        """Finish what waits and let go of the connection."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self.connection.close()

    def _submit(self, function: Callable[[sqlite3.Connection], T], *, writes: bool) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(_Work(function, future, writes))
        return future

    def _run(self) -> None:
        """The thread: take all that waits, commit it once, tell everybody."""
        while True:
            batch = [self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            works = [work for work in batch if work is not None]
            if works:
                self._commit(works)
            if None in batch:
                return

    def _commit(self, works: list[_Work]) -> None:
        results: list[Any] = []
        error: Exception | None = None
        try:
            if any(work.writes for work in works):
                self._begin()
            results = [work.function(self.connection) for work in works]
            if self.connection.in_transaction:
                self.connection.execute("COMMIT")
                self.commits += 1
        except (sqlite3.Error, OutputError) as failure:
            error = self._fail(failure)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_tell, works, results, error)

    def _begin(self) -> None:
        if self._broken is not None:
            raise self._broken
        self.connection.execute("BEGIN IMMEDIATE")
        self._before_write(self.connection)

    def _fail(self, failure: Exception) -> OutputError:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        if not isinstance(failure, OutputError):
            failure = OutputError(
                f"the ledger {self._path} cannot be written ({failure}): nothing further was sent. "
                "Make room or mend the disk, then run the same command again"
            )
        self._broken = failure
        return failure


class _Work(NamedTuple):
    function: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    writes: bool


def _tell(works: list[_Work], results: list[Any], error: Exception | None) -> None:
    for number, work in enumerate(works):
        if work.future.done():
            continue
        if error is not None:
            work.future.set_exception(error)
        else:
            work.future.set_result(results[number])
