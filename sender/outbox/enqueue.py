"""Enqueue a job in a transaction of the caller's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.jobs.job import MOST_LINE
from sender.outbox.job_row import PRIORITIES, JobRow
from sender.outbox.outbox_table import DEFAULT, OutboxTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

COLUMNS: Final = ("job", "priority", "not_before", "expires_at")


def enqueue(
    connection: Any, job: Mapping[str, Any] | str | bytes, *, priority: str | None = None,
    not_before: datetime | None = None, expires_at: datetime | None = None, table: str = DEFAULT,
) -> Any:
    """Put a job into the outbox, in the transaction that `connection` is in; returns the id of its row.

    `connection` is one of asyncpg, of psycopg 3 (sync or async), or a connection or session of SQLAlchemy (sync or
    async). With an async one the call has to be awaited. Nothing is committed here.

    `job` is a job line, or what it says (docs/job-format.md): `{"id": …, "kind": …, "payload": {…}}`. `priority` is
    high, normal or low, else what the job names. It is not started before `not_before`, and not after `expires_at`;
    both need a time zone.

    ValueError: it is no JSON object, it is too large, or an option is wrong. What the kind asks of its payload is
    checked when the job is sent: `sender validate` tells before.
    """
    line = job if isinstance(job, bytes) else job.encode() if isinstance(job, str) else orjson.dumps(dict(job))
    row = JobRow.of(line)
    if not row.is_object:
        raise ValueError('a job is a JSON object, like {"id": …, "kind": "email", "payload": {…}}')
    if len(line) > MOST_LINE:
        raise ValueError(f"the job has {len(line):,} bytes; it takes at most {MOST_LINE:,}")
    if priority is not None and priority not in PRIORITIES:
        raise ValueError(f"priority is one of {', '.join(PRIORITIES)}")
    values = (row.job, priority or row.priority, _aware("not_before", not_before), _aware("expires_at", expires_at))
    return _insert(connection, OutboxTable.named(table), values)


def _insert(connection: Any, table: OutboxTable, values: tuple[Any, ...]) -> Any:
    """In the words of the library that made the connection."""
    modules = {one.__module__.partition(".")[0] for one in type(connection).__mro__}
    if "asyncpg" in modules:
        return connection.fetchval(_sql(table, "$1", "$2", "$3", "$4"), *values)
    if "psycopg" in modules:
        return _by_psycopg(connection, _sql(table, "%s", "%s", "%s", "%s"), values)
    if "sqlalchemy" in modules:
        return _by_sqlalchemy(connection, table, values)
    raise TypeError(
        f"{type(connection).__module__}.{type(connection).__qualname__} is no connection that is known here: it takes "
        "asyncpg, psycopg 3 and SQLAlchemy; for others the statement stands in docs/outbox.md"
    )


def _sql(table: OutboxTable, *marks: str) -> str:
    """Text first, whatever the connection makes of a Python value for a column of JSON."""
    job, priority, not_before, expires_at = marks
    values = (f"CAST(CAST({job} AS text) AS json), CAST({priority} AS text), "
              f"COALESCE(CAST({not_before} AS timestamptz), now()), CAST({expires_at} AS timestamptz)")
    return f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES ({values}) RETURNING id"  # noqa: S608 - a checked name


def _by_psycopg(connection: Any, sql: str, values: tuple[Any, ...]) -> Any:
    from psycopg import AsyncConnection
    from psycopg.rows import tuple_row

    if not isinstance(connection, AsyncConnection):
        with connection.cursor(row_factory=tuple_row) as cursor:
            return _first(cursor.execute(sql, values, prepare=False).fetchone())  # poolers lose what is prepared

    async def insert() -> int:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(sql, values, prepare=False)
            return _first(await cursor.fetchone())

    return insert()


def _first(row: Any) -> int:
    return int(row[0])


def _by_sqlalchemy(connection: Any, table: OutboxTable, values: tuple[Any, ...]) -> Any:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    statement = text(_sql(table, *(f":{name}" for name in COLUMNS)))
    named = dict(zip(COLUMNS, values, strict=True))
    if not isinstance(connection, AsyncConnection | AsyncSession | async_scoped_session):
        return connection.execute(statement, named).scalar_one()

    async def insert() -> int:
        return int((await connection.execute(statement, named)).scalar_one())

    return insert()


def _aware(name: str, given: datetime | None) -> datetime | None:
    if given is not None and given.tzinfo is None:
        raise ValueError(f"{name} needs a time zone: datetime.now(UTC), say")
    return given
