"""PostgreSQL: `postgres://USER:PASSWORD@HOST/DATABASE`, by a server-side cursor of a read-only transaction."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.errors import UsageError
from sender.inputs.extras import imported
from sender.inputs.queries.place import place_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

BATCH: Final = 500
"""Rows that the cursor fetches at once."""
AHEAD: Final = 4
"""Batches that may wait to be written."""
TIMEOUT: Final = 60.0
"""Seconds for a connection."""


def read_postgres(url: str, sql: str) -> Generator[Sequence[Any]]:
    """The columns' names, then the rows; the driver's loop runs in a thread, since the caller may have a loop."""
    place = place_of(url)
    asyncpg = imported("asyncpg", "postgres", f"{place} is a PostgreSQL database")
    reader = _Reader(asyncpg, url, sql)
    thread = threading.Thread(target=reader.run, name="query", daemon=True)
    thread.start()
    try:
        while (batch := reader.batches.get()) is not None:
            if isinstance(batch, Exception):
                raise UsageError(f"{place}: the query fails: {_reason(batch)}") from None
            yield from batch
    finally:
        reader.stopped.set()
        thread.join(TIMEOUT)


class _Reader:
    def __init__(self, asyncpg: Any, url: str, sql: str) -> None:
        self._asyncpg = asyncpg
        self._url = url
        self._sql = sql
        self.batches: queue.Queue[list[Sequence[Any]] | Exception | None] = queue.Queue(AHEAD)
        self.stopped = threading.Event()

    def run(self) -> None:
        """Read all of it, then put None; an error in its place ends it."""
        try:
            asyncio.run(self._read())
            self._put(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for rows is told
            self._put(error)

    async def _read(self) -> None:
        connection = await self._asyncpg.connect(self._url, timeout=TIMEOUT)
        try:
            for name in ("json", "jsonb"):
                await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=orjson.Fragment)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                statement = await connection.prepare(self._sql)
                self._put([[attribute.name for attribute in statement.get_attributes()]])
                cursor = await statement.cursor()
                while not self.stopped.is_set() and (rows := await cursor.fetch(BATCH)):
                    self._put([tuple(row.values()) for row in rows])
        finally:
            await connection.close(timeout=TIMEOUT)

    def _put(self, batch: list[Sequence[Any]] | Exception | None) -> None:
        while not self.stopped.is_set():
            try:
                self.batches.put(batch, timeout=0.5)
            except queue.Full:
                continue
            return


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
