"""Between a program and its PostgreSQL a pooler, PgBouncer: applications may use any mode, consumers need a session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from sender.outbox import enqueue
from sender.queues import QueueError, QueueLost
from sender.queues.queue_url import open_queue
from tests.support.databases import PgBouncer
from tests.support.processes import email

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.outbox.conftest import Outbox
    from tests.support.databases import PostgresServer


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    found = PgBouncer(postgres_server)
    try:
        yield found.start()  # type: ignore[misc]
    finally:
        found.stop()


async def number_of(outbox: Outbox) -> int:
    return int(await outbox.client.fetchval(f"SELECT count(*) FROM {outbox.table}"))


def test_psycopg_enqueues_behind_a_pooler_that_knows_no_prepared_statements(outbox: Outbox, pooler: PgBouncer) -> None:
    """It prepares what is said often; each transaction here has another connection of the server's."""
    url = pooler.url("transaction")
    with psycopg.connect(url) as one, psycopg.connect(url, prepare_threshold=None) as other:
        for number in range(20):
            enqueue(one, email(number), table=str(outbox.table))
            other.execute("SELECT 1")
            one.commit()
            other.commit()
        found = other.execute(f"SELECT count(*) FROM {outbox.table}").fetchone()  # type: ignore[arg-type]
        assert found == (20,)


async def test_asyncpg_enqueues_behind_it_without_its_cache(outbox: Outbox, pooler: PgBouncer) -> None:
    url = pooler.url("transaction")
    clients = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(2)]
    for number in range(10):
        transactions = [client.transaction() for client in clients]
        for client, transaction in zip(clients, transactions, strict=True):
            await transaction.start()
            await enqueue(client, email(number), table=str(outbox.table))
        for transaction in transactions:
            await transaction.commit()
    for client in clients:
        await client.close()
    assert await number_of(outbox) == 20


async def test_sqlalchemy_enqueues_behind_it(outbox: Outbox, pooler: PgBouncer) -> None:
    engine = create_async_engine(
        pooler.url("transaction").replace("postgres://", "postgresql+asyncpg://"), poolclass=NullPool,
        connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0},
    )
    async with engine.begin() as one, engine.begin() as other:
        for number in range(5):
            await enqueue(one, email(number), table=str(outbox.table))
            await enqueue(other, email(number), table=str(outbox.table))
    await engine.dispose()
    assert await number_of(outbox) == 10


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_consumer_reads_by_a_session_and_says_so_else(outbox: Outbox, pooler: PgBouncer, mode: str) -> None:
    queue: Any = open_queue(f"{pooler.url(mode)}?table={outbox.table}")
    try:
        if mode == "transaction":
            with pytest.raises(QueueError, match="knows no prepared statements") as caught:
                await queue.open()
            assert not isinstance(caught.value, QueueLost), "waiting does not mend it"
            return
        await queue.open()
        reading = asyncio.create_task(queue.read(10))
        await asyncio.sleep(0.1)
        await enqueue(outbox.client, email(1), table=str(outbox.table))
        messages = await reading
        assert [message.deliveries for message in messages] == [1]
        await queue.ack(messages)
        assert await queue.lag() == 0
    finally:
        await queue.aclose()
