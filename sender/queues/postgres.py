"""PostgreSQL (asyncpg): the outbox in an application's own database; the job line is the column `job` of a row.

A message in hand is a row with a `holder`, one of the readers that live. A reader says so every few seconds in a row
of its own, so that keeping costs one row, however many are in hand; who does not say so within `return_after` seconds
loses what it holds to the next reader. Each connection holds under a name of its own, and takes over what was in hand
under the last one: whatever a broken connection took without our knowing is free again.

The end is written beside the job, in the statement that takes it out of what is open (`sender.outbox.statements`).
NOTIFY wakes readers; what it misses is found by a look every second.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import asyncpg
import orjson

from sender.jobs.masking import mask
from sender.outbox import statements as sql
from sender.outbox.job_row import JobRow
from sender.outbox.outbox_table import DEFAULT, OutboxTable
from sender.outbox.schema import SPARE, VERSION, version_of
from sender.queues.broker_connection import BrokerConnection
from sender.queues.broker_queue import HEAD, BrokerQueue
from sender.queues.message_identity import queue_name
from sender.queues.postgres_server import (
    DATABASE,
    PASSING,
    POOLED,
    POOLER,
    PostgresServer,
    storable,
    storable_json,
)
from sender.queues.publisher import OutgoingLine, Publisher
from sender.queues.queue import Ending, Message, QueueError, QueueLost, trace_context
from sender.queues.read_order import ReadOrder
from sender.queues.refused_rows import REFUSALS, RefusedRows
from sender.queues.server_access import with_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from sender.queues.address import Address
    from sender.queues.queue import QueueOrigins, RequeueCounts

CONNECT_WITHIN: Final = 8.0
RELEASE_EVERY: Final = 2.0
"""Seconds between two looks for what dead readers hold, at most."""
UPKEEP_EVERY: Final = 600.0
FEW: Final = 20_000
"""Rows that are counted each time that somebody asks."""
MANY: Final = 1_000_000
COUNT_EVERY: Final = 60.0
"""Seconds between two counts of more than a few."""
LOOKS: Final = "postgres://HOST/DB?table=sender_outbox"
_OWN: Final = ("table", "priority", "name")


@dataclass(slots=True, eq=False)
class PostgresClient:
    """One connection, which does one thing at a time, and the table it is for."""

    connection: Any
    database: str
    table: OutboxTable
    ring: int
    """Partitions for what has ended; 0: it is deleted."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody has enqueued; or the connection has ended."""
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def rows(self, statement: str, *values: Any) -> list[Any]:
        """What a statement gives."""
        async with self._one:
            return list(await self.connection.fetch(statement, *values))

    async def value(self, statement: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        found = await self.rows(statement, *values)
        return found[0][0] if found else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """The connection (asyncpg), in a transaction of ours."""
        async with self._one, self.connection.transaction():
            yield self.connection

    async def empty(self, slot: int, days: int) -> None:
        """Give back the space of a partition, unless somebody uses it now, or it holds what is to be kept."""
        with suppress(asyncpg.LockNotAvailableError):
            async with self.transaction() as connection:
                await connection.execute(sql.lock(self.table, slot))
                if not await connection.fetchval(sql.is_recent(self.table, slot), days):
                    await connection.execute(sql.empty(self.table, slot))


class PostgresConnection(BrokerConnection[PostgresClient]):
    """It never reconnects by itself, and tells nothing of the rows it is about."""

    async def _connect(self) -> PostgresClient:
        address = self.address
        url = f"{with_host(address.url, ','.join(address.hosts))}?{urlencode(address.parameters)}".rstrip("?")
        server = PostgresServer.of(url, _OWN, looks=LOOKS)
        connection = await server.connect(CONNECT_WITHIN, server_settings={"application_name": "sender"})
        try:
            await connection.execute("SET jit = off")  # a pooler takes it no earlier
            client = await self._look_at_table(connection, server)
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(lambda _: client.arrived.set())
        return client

    async def _look_at_table(self, connection: Any, server: PostgresServer) -> PostgresClient:
        named = OutboxTable.named(self.address.parameters.get("table", DEFAULT))
        facts = await connection.fetchrow(sql.FACTS, str(named))
        if facts is not None and facts["backend"] != connection.get_server_pid():
            await server.is_pooled(CONNECT_WITHIN)
        if facts is None:
            raise QueueError(f"{self.address.shown}: there is no table {named}; sender outbox create makes it")
        version = version_of(facts["comment"])
        if version is None:
            raise QueueError(f"{self.address.shown}: the table {named} is no outbox; sender outbox create makes one")
        if version != VERSION:
            mend = "sender outbox migrate brings it up" if version < VERSION else "a later sender made it: use that one"
            raise QueueError(f"{self.address.shown}: the outbox {named} has version {version}, not {VERSION}; {mend}")
        table = OutboxTable(facts["schema"], facts["name"])
        return PostgresClient(connection, facts["database"], table, max(0, facts["partitions"] - 1))

    async def _disconnect(self, client: PostgresClient) -> None:
        try:
            await client.connection.close(timeout=0.5)
        finally:
            client.connection.terminate()

    def _is_lost(self, error: Exception) -> bool | None:
        if isinstance(error, QueueLost):
            return True
        if isinstance(error, (QueueError, asyncpg.ClientConfigurationError, asyncpg.DataError, *POOLED)):
            return False
        if isinstance(error, (*PASSING, asyncpg.InternalClientError, asyncpg.UndefinedTableError)):
            return True  # a table that is gone, or another by now, is looked at anew by who connects
        if isinstance(error, asyncpg.PostgresError):
            return False
        return True if isinstance(error, asyncpg.InterfaceError) else None

    def _told(self, error: Exception, kind: type[QueueError]) -> QueueError:
        """The details of PostgreSQL's errors show rows: its first sentence has to do."""
        if isinstance(error, POOLED):
            return kind(f"{self.address.shown}: {POOLER}")
        if isinstance(error, asyncpg.PostgresError):
            text = mask(self.address.hide(str(error.args[0] if error.args else "")))
            return kind(f"{self.address.shown}: {type(error).__name__}: {text[:300]}")
        return super()._told(error, kind)


class PostgresQueue(BrokerQueue[PostgresClient]):
    """A reader's share of one outbox."""

    connection_type = PostgresConnection

    def __init__(
        self, address: Address, in_hand: int, return_after: float, requeue_counts: RequeueCounts | None,
        origins: QueueOrigins | None = None,
    ) -> None:
        super().__init__(address, in_hand, return_after, requeue_counts, origins)
        self.keep_every = return_after / 3
        self._lease = return_after
        self._reader = uuid.uuid4()
        self._earlier: list[uuid.UUID] = []
        """Names under which this reader may hold something."""
        self._amendments: list[Ending] = []
        self._order = ReadOrder()
        self._refused = RefusedRows(self.source)
        self._many = (float("-inf"), 0)
        """When a long queue was counted last, and what came out."""
        self.database: str | None = None
        self._ring = 0
        self._table = OutboxTable.named(address.parameters.get("table", DEFAULT))
        self._statements = sql.Statements.of(self._table)
        self._renewed_at = self._release_at = self._upkeep_at = float("-inf")

    async def _prepare(self, client: PostgresClient) -> None:
        """The table's own names, a name for this connection, and word of what is enqueued."""
        named = {**self.address.parameters, "table": str(client.table)}
        self._queue_name = queue_name(replace(self.address, path=client.database, parameters=named))
        self._statements = sql.Statements.of(client.table)
        self._table, self._ring = client.table, client.ring
        with suppress(asyncpg.InsufficientPrivilegeError):
            self.database = await client.value(DATABASE)
        await client.connection.add_listener(client.table.name, lambda *_: client.arrived.set())
        await self._join(client)

    async def _join(self, client: PostgresClient) -> None:
        """Live, under a new name, and hold what is in hand of what the earlier ones held; the rest is free."""
        self._earlier.append(self._reader)
        self._reader = uuid.uuid4()
        held = [message.handle for message in self._in_hand.values()]
        await client.rows(self._statements.join, self._reader, self._lease, self._earlier, held)
        self._earlier.clear()
        self._renewed_at = asyncio.get_running_loop().time()

    async def _renew(self, client: PostgresClient) -> None:
        """It may have slept for so long that others took it for dead."""
        if await client.value(self._statements.renew, self._reader, self._lease) is None:
            await self._join(client)
        self._renewed_at = asyncio.get_running_loop().time()

    async def _origin(self, client: PostgresClient) -> str | None:
        try:
            return str(await client.value(sql.ORIGIN))
        except asyncpg.InsufficientPrivilegeError:
            return None

    async def _read(self, client: PostgresClient, room: int) -> list[Message]:
        clock = asyncio.get_running_loop().time
        ends = clock() + self._wait
        await self._look_after(client)
        while True:
            client.arrived.clear()
            if clock() >= self._release_at:
                self._release_at = clock() + min(RELEASE_EVERY, self._lease / 3)
                await client.rows(self._statements.release)
            if got := await self._claim(client, room):
                return got
            rest = min(ends, self._release_at) - clock()
            if clock() >= ends:
                return []
            await _wait_for(client.arrived, rest)

    async def _look_after(self, client: PostgresClient) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at >= self._lease / 3:
            await self._renew(client)
        await self._end_each(client, filter(self._has, self._refused.due()))
        if client.ring and now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_EVERY
            tomorrow = sql.slot_of(_today() + 1, client.ring)
            if await client.value(sql.is_filled(client.table, tomorrow)):
                await client.empty(tomorrow, client.ring - SPARE)

    async def _claim(self, client: PostgresClient, room: int) -> list[Message]:
        """Fewer at a time, and in the end without the first, while the rows together are refused."""
        order = self._order.next()
        while True:
            try:
                found = await client.rows(
                    self._statements.claim, self._reader, self._lease, order, room, self.read_bytes, self._largest,
                    HEAD, self._refused.passed_by,
                )
            except REFUSALS as error:
                if room == 1:
                    first = await client.value(self._statements.first, order, self._refused.passed_by)
                    self._refused.pass_by(first, error)
                room = max(1, room // 2)
            else:
                return [self._message(row) for row in found]

    def _message(self, row: Any) -> Message:
        headers = members(row["headers"])
        known = f"{row['micros']}-{row['id']}"
        return Message(
            source=self.source, id=known, identity=self._identity(known, headers),
            data=row["raw"] if row["job"] is None else row["job"].encode(), deliveries=row["deliveries"],
            handle=row["id"], priority=self.address.priority if row["priority"] == "normal" else row["priority"],
            expires_at=row["expires_at"], headers=trace_context(headers), unread=row["size"] if row["is_large"] else 0,
        )

    async def _ack(self, client: PostgresClient, batch: list[Message]) -> None:
        if left := [message for message in batch if not message.gone]:
            try:
                await self._end(client, left)
            except REFUSALS:
                if error := await self._end_each(client, left):
                    raise error from None

    async def _end(self, client: PostgresClient, batch: Sequence[Message]) -> None:
        async with client.transaction() as connection:
            await end_messages(connection, client.table, client.ring, batch)

    async def _end_each(self, client: PostgresClient, batch: Iterable[Message]) -> asyncpg.PostgresError | None:
        """What refuses its end stays in our hand, to be tried again; the last such refusal."""
        refused = None
        for message in batch:
            self._done.pop(self._key(message), None)
            try:
                await self._end(client, [message])
            except REFUSALS as error:
                refused = error
                self._refused.keep(message, error)
            else:
                self._release([message])
        return refused

    def ending(self, messages: Sequence[Message], first: int) -> tuple[str, Sequence[Any]]:
        """See `DatabaseQueue`."""
        return ending_of(self._table, self._ring, messages, first)

    async def in_doubt(self, after: str, most: int) -> Sequence[str]:
        """See `DatabaseQueue`; none where rows are deleted when they end."""
        async def look(client: PostgresClient) -> list[str]:
            if not client.ring:
                return []
            async with client.transaction() as connection:
                await connection.execute(sql.BY_INDEX)
                return [row[0] for row in await connection.fetch(self._statements.in_doubt, after, most)]

        return await self._connection.run(look)

    async def amend(self, ending: Ending) -> None:
        """Now or when PostgreSQL is back."""
        self._amendments.append(ending)
        with suppress(QueueLost):
            await self._connection.run(self._flush)

    async def _flush(self, client: PostgresClient) -> None:
        await super()._flush(client)
        batch = list(self._amendments)
        if batch and client.ring:
            async with client.transaction() as connection:
                await amend(connection, client.table, batch)
        del self._amendments[:len(batch)]

    async def _requeue(self, client: PostgresClient, batch: list[Message], delay: float) -> None:
        rows = [message.handle for message in batch]
        await client.rows(self._statements.requeue, self._reader, rows, delay)
        if not delay:
            await client.rows(self._statements.wake)

    async def _keep(self, client: PostgresClient, batch: list[Message]) -> None:  # noqa: ARG002 - all that it holds
        await self._renew(client)

    async def _lag(self, client: PostgresClient) -> int | None:
        """Of a long queue what was counted within the last minute: counting takes the server long."""
        found = int(await client.value(self._statements.lag, FEW))
        if found < FEW:
            return found
        counted_at, many = self._many
        now = asyncio.get_running_loop().time()
        if now - counted_at >= COUNT_EVERY:
            many = int(await client.value(self._statements.lag, MANY))
            self._many = now, many
        return max(found, many)

    async def _left_since(self, client: PostgresClient, seconds: float) -> bool:
        return bool(await client.value(self._statements.left_since, seconds))

    async def _leave(self, client: PostgresClient) -> None:
        await client.rows(self._statements.leave, self._reader)


async def end_messages(connection: Any, table: OutboxTable, ring: int, messages: Sequence[Message]) -> None:
    """Take these out of what is open, with what became of them, in whatever transaction `connection` (asyncpg) is."""
    expressions, values = ending_of(table, ring, messages, 1)
    await connection.execute(f"WITH {expressions} SELECT", *values)
    if ring:
        await amend(connection, table, [one.ending for one in messages if one.ending and one.is_copy])


def ending_of(table: OutboxTable, ring: int, messages: Sequence[Message], first: int) -> tuple[str, Sequence[Any]]:
    """See `DatabaseQueue.ending`; it says nothing to rows that had ended before."""
    ends = {one.handle: one.ending or Ending("acknowledged") for one in messages}
    rows = sorted(ends)
    if not ring:
        return sql.delete_rows(table, first), [rows]
    columns = zip(*(_columns(ends[row]) for row in rows), strict=True)
    return sql.end_rows(table, sql.slot_of(_today(), ring), first), [rows, *map(list, columns)]


async def amend(connection: Any, table: OutboxTable, endings: Iterable[Ending]) -> None:
    """What became, later, of jobs whose rows had ended otherwise."""
    values = [(one.key, *_columns(one)[:3]) for one in endings if one.key is not None]
    if values:
        await connection.execute(sql.Statements.of(table).amend, *map(list, zip(*values, strict=True)))


def _columns(ending: Ending) -> tuple[str, str | None, str | None, str | None]:
    """`status`, `delivery_id`, `error` and `key`, which is kept while the status may change."""
    error = None if ending.error is None else storable_json(orjson.dumps(ending.error).decode())
    delivery_id = None if ending.delivery_id is None else storable(ending.delivery_id)
    return ending.status, delivery_id, error, None if ending.status == "sent" else ending.key


def _today() -> int:
    """The day, counted from 1970."""
    return int(time.time()) // sql.DAY


def members(text: str | None) -> dict[str, Any]:
    """Headers, which anyone may have written."""
    try:
        found = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return


class PostgresPublisher(Publisher[PostgresClient]):
    """Rows of a table that is made as an outbox is; all of a call's lines, or none."""

    connection_type = PostgresConnection

    async def _publish(self, client: PostgresClient, lines: list[OutgoingLine]) -> None:
        rows = [JobRow.of(one.line) for one in lines]
        headers = [orjson.dumps(one.headers).decode() if one.headers else None for one in lines]
        await client.rows(
            sql.insert(client.table), [row.job for row in rows], [row.raw for row in rows],
            [row.priority for row in rows], headers, [one.reason for one in lines],
        )
