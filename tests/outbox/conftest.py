"""One PostgreSQL for the session, one outbox for each test."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest

from sender.outbox.outbox_table import OutboxTable
from sender.outbox.schema import create
from tests.support.databases import PostgresServer
from tests.support.servers import server_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

postgres_server = server_fixture(lambda _: PostgresServer(), "postgres_server")


class Outbox(NamedTuple):
    """A table, and how to get there."""

    server: PostgresServer
    table: OutboxTable
    client: asyncpg.Connection

    @property
    def url(self) -> str:
        """For a consumer."""
        return f"{self.server.url}?table={self.table}"


@pytest.fixture
async def outbox(postgres_server: PostgresServer) -> AsyncIterator[Outbox]:
    table = OutboxTable.named(f"outbox_{secrets.token_hex(4)}")
    client = await asyncpg.connect(postgres_server.url)
    try:
        await client.execute(create(table, 2))
        yield Outbox(postgres_server, table, client)
    finally:
        await client.close()
