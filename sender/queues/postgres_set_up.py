"""The SQL of an outbox, run on its database in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import asyncpg

from sender.errors import UsageError
from sender.outbox import statements as sql
from sender.outbox.schema import SPARE, VERSION, Roles, create, migrate, version_of
from sender.queues.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.outbox.outbox_table import OutboxTable

LOOKS: Final = "postgres://USER@HOST/DB"
CONNECT_WITHIN: Final = 10.0
LOCK_WITHIN: Final = "10s"
"""A migration waits no longer for whoever uses the tables: all that enqueue would wait behind it."""


async def set_up(url: str, what: str, tables: Mapping[OutboxTable, int], roles: Roles, more: str = "") -> str:
    """Create, or migrate, these tables with the days that each keeps; returns what was done. The first is the outbox.
    `more` is SQL that goes with them.

    UsageError: the database refuses, or a table is there already, or not.
    """
    server = PostgresServer.of(url, (), looks=LOOKS)
    try:
        connection = await server.connect(CONNECT_WITHIN)
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'")
                told = [await _one(connection, what, table, days, roles if number == 0 else Roles("", roles.consumer))
                        for number, (table, days) in enumerate(tables.items())]
                if more:
                    await connection.execute(more)
                    told.append("the shared state: " + ("created" if what == "create" else "brought up"))
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise UsageError(f"{server.shown}: nothing was changed: {server.told(error)}") from None
    return "\n".join(told)


async def _one(connection: Any, what: str, table: OutboxTable, days: int, roles: Roles) -> str:
    facts = await connection.fetchrow(sql.FACTS, str(table))
    if what == "create":
        if facts is not None:
            raise UsageError(f"there is a table {table} already; sender outbox migrate brings an outbox up")
        await connection.execute(create(table, days, roles))
        return f"{table}: version {VERSION} created"
    version = None if facts is None else version_of(facts["comment"])
    if facts is None or version is None:
        raise UsageError(f"there is no outbox {table}; sender outbox create makes one")
    if version > VERSION:
        raise UsageError(f"{table} has version {version}, made by a later sender; use that one")
    kept = max(0, facts["partitions"] - 1 - SPARE)
    await connection.execute(migrate(table, kept, roles, version) or "SELECT 1")
    return f"{table}: version {version} {'is the latest' if version == VERSION else f'-> {VERSION}'}"
