"""`enqueue` with each library: in the caller's own transaction, and in no other."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sender.jobs.job import MOST_LINE
from sender.outbox import enqueue
from tests.support.processes import email

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.outbox.conftest import Outbox


@asynccontextmanager
async def of_asyncpg(url: str) -> AsyncIterator[Any]:
    """With a codec of the application's own, as many have one."""
    connection = await asyncpg.connect(url)
    await connection.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    transaction = connection.transaction()
    await transaction.start()
    yield connection, transaction.commit, transaction.rollback
    await connection.close()


@asynccontextmanager
async def of_asyncpg_pool(url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection, transaction.commit, transaction.rollback


@asynccontextmanager
async def of_psycopg(url: str) -> AsyncIterator[Any]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield connection, connection.commit, connection.rollback


@asynccontextmanager
async def of_async_psycopg(url: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        yield connection, connection.commit, connection.rollback


@asynccontextmanager
async def of_sqlalchemy(url: str) -> AsyncIterator[Any]:
    engine = sqlalchemy.create_engine(url.replace("postgres://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        yield connection, connection.commit, connection.rollback
    engine.dispose()


@asynccontextmanager
async def of_session(url: str) -> AsyncIterator[Any]:
    engine = sqlalchemy.create_engine(url.replace("postgres://", "postgresql+psycopg://"))
    with Session(engine) as session:
        yield session, session.commit, session.rollback
    engine.dispose()


@asynccontextmanager
async def of_async_sqlalchemy(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(url.replace("postgres://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        yield connection, connection.commit, connection.rollback
    await engine.dispose()


@asynccontextmanager
async def of_async_session(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(url.replace("postgres://", "postgresql+asyncpg://"))
    async with AsyncSession(engine) as session:
        yield session, session.commit, session.rollback
    await engine.dispose()


WAYS = (of_asyncpg, of_asyncpg_pool, of_psycopg, of_async_psycopg, of_sqlalchemy, of_session, of_async_sqlalchemy,
        of_async_session)


async def done(found: Any) -> Any:
    return await found if hasattr(found, "__await__") else found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_job_is_there_when_the_transaction_commits_and_only_then(outbox: Outbox, way: Any) -> None:
    later, end = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))
    table = str(outbox.table)
    async with way(outbox.server.url) as (connection, commit, rollback):
        await done(enqueue(connection, email(1), table=table))
        await done(rollback())
    async with way(outbox.server.url) as (connection, commit, rollback):
        first = await done(enqueue(connection, email(2) | {"priority": "low"}, table=table))
        line = '{"id":  "x", "payload": {"to": "a:b%s"} }'
        second = await done(enqueue(connection, line, table=table, priority="high", not_before=later, expires_at=end))
        assert await outbox.client.fetchval(f"SELECT count(*) FROM {table}") == 0
        await done(commit())
    rows = await outbox.client.fetch(f"SELECT * FROM {table} ORDER BY id")
    assert [row["id"] for row in rows] == [first, second]
    assert json.loads(rows[0]["job"]) == email(2) | {"priority": "low"}
    assert rows[1]["job"] == line, "as it stands, to the byte"
    assert [row["priority"] for row in rows] == ["low", "high"]
    assert (rows[1]["not_before"], rows[1]["expires_at"]) == (later, end)
    assert (rows[0]["not_before"], rows[0]["expires_at"]) == (rows[0]["enqueued_at"], None)
    assert {row["status"] for row in rows} == {"waiting"}


@pytest.mark.parametrize(("job", "more", "says"), [
    ("[]", {}, "a JSON object"), (b"no", {}, "a JSON object"), (email(1), {"priority": "urgent"}, "high, normal, low"),
    (email(1), {"not_before": datetime(2026, 1, 1)}, "not_before needs a time zone"),  # noqa: DTZ001 - that is the point
    (b'{"x": "' + b"x" * MOST_LINE + b'"}', {}, "at most"),
])
def test_what_is_no_job_ends_before_anything_is_said_to_the_database(job: Any, more: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        enqueue(object(), job, **more)


def test_an_unknown_connection_is_told() -> None:
    with pytest.raises(TypeError, match=r"builtins\.object is no connection"):
        enqueue(object(), email(1))


def test_a_table_s_name_is_checked() -> None:
    with pytest.raises(Exception, match="no name for an outbox table"):
        enqueue(object(), email(1), table="a; DROP TABLE orders")
