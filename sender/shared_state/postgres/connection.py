"""The PostgresConnection of one workspace: calls of functions, one epoch, and patience while the server is away.

Every function begins with a look at the epoch, and at the server itself (`known` in `schema.sql`): a state that was
lost answers SND01. A server that was restarted or took over answers SND02 until it was entered anew, which keeps the
lanes from granting what may have been granted before; so that is noticed behind a pooler, too.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from asyncpg import exceptions as errors

from sender.errors import OutputError, StateAway, UsageError
from sender.queues.postgres_server import PASSING, POOLED, POOLER, REFUSED, PostgresServer, first_sentence
from sender.shared_state.postgres.schema import MISSING, NAME, VERSION, check_version, make_schema, quoted
from sender.shared_state.postgres.timeline import Timeline
from sender.shared_state.state_connection import KEEPING, TIMEOUT, StateConnection

if TYPE_CHECKING:
    from sender.queues import StatementPart

MOST: Final = 4
"""Connections at once."""
BOUND: Final = """
SELECT set_config('statement_timeout', '1800', false) FROM pg_settings
WHERE name = 'statement_timeout' AND setting::integer NOT BETWEEN 1 AND 1800
"""
"""Milliseconds, within `TIMEOUT`, unless the role has fewer."""
LOST: Final = "SND01"
RESTARTED: Final = "SND02"
CLOSED: Final = (errors.InterfaceError, errors.InternalClientError)
"""What the client makes of a connection that was closed under it."""
FAILURES: Final = (errors.PostgresError, *CLOSED, OSError)


class PostgresConnection(StateConnection):
    """Calls the functions of one workspace; open it with `await PostgresConnection.open(...)`."""

    def __init__(self, server: PostgresServer, workspace: str, host: str) -> None:
        super().__init__(server.shown)
        self.schema = server.options.get("schema", NAME)
        self._server = server
        self._workspace = workspace
        self._host = host
        self._space = 0
        self._generation = 0
        self._idle: list[Any] = []
        self._places = asyncio.Semaphore(MOST)
        self._closed = False
        self._pooled = False
        """Whether a pooler is between, which gives its connections to others, too."""

    @classmethod
    async def open(cls, server: PostgresServer, workspace: str, host: str) -> PostgresConnection:
        """Connect and find or found the epoch; UsageError when the server cannot be used, StateAway when it is away."""
        connection = cls(server, workspace, host)
        try:
            async with asyncio.timeout(10 * TIMEOUT):
                connection._pooled = await server.is_pooled(TIMEOUT)
            await connection._enter()
        except FAILURES as error:
            await connection.close()
            raise connection._unusable(error) from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def rejoin(self) -> None:
        """Take the epoch as it is now, after StateLost; waits while the server is away."""
        await self.until_answered(self._enter)

    async def call(
        self, function: str, *arguments: Any, types: str = "", patient: bool = True, also: StatementPart | None = None
    ) -> list[Any]:
        """The rows that a function returns; with patience until the server answers.

        `types` are those of the arguments; `also` goes into the same statement. Raises StateLost, Away (without
        patience only), and OutputError for what waiting does not mend.
        """
        names = ["integer", "text", "integer", *types.split()]
        places = ", ".join(f"${number}::{name}" for number, name in enumerate(names, 1))
        sql = f"SELECT * FROM {quoted(self.schema)}.{function}({places})"  # noqa: S608 - our own names
        if also is not None:
            expressions, more = also.expressions(len(names) + 1)
            sql, arguments = f"WITH {expressions} {sql}", (*arguments, *more)

        async def attempt() -> list[Any]:
            try:
                return await self.fetch(sql, self._space, self.token, self._generation, *arguments)
            except errors.PostgresError as error:
                if error.sqlstate != RESTARTED:
                    if also is not None and error.sqlstate != LOST and not isinstance(error, PASSING):
                        raise OutputError(first_sentence(error)) from None  # it may say nothing of the state
                    raise
            await self._enter_again()
            return await self.fetch(sql, self._space, self.token, self._generation, *arguments)

        return await self.until_answered(attempt, patient=patient, keeps=function in KEEPING)

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The rows of a statement, once."""
        async with self._places:
            self.calls += 1
            connection = None
            try:
                async with asyncio.timeout(TIMEOUT):
                    connection = self._take() or await self._connect()
                    rows = list(await connection.fetch(sql, *arguments))
            except BaseException as error:
                if connection is not None and getattr(error, "sqlstate", None) in (LOST, RESTARTED):
                    self._idle.append(connection)  # our own words; after any other error it is not to be trusted
                elif connection is not None:
                    connection.terminate()
                raise
            self._idle.append(connection)
            if self._closed:
                await self.close()
            return rows

    async def now(self) -> float:
        """The server's unix seconds; StateAway when it does not answer."""
        try:
            (row,) = await self.fetch("SELECT extract(epoch FROM clock_timestamp())::double precision")
        except FAILURES as error:
            raise StateAway(f"--state {self.shown} cannot be used: {self.told(error)}") from None
        return float(row[0])

    async def look_at_history(self) -> Timeline | None:
        """Ask how the server's history stands, and keep it; None where it does not tell."""
        try:
            (row,) = await self.fetch(f"SELECT * FROM {quoted(self.schema)}.tell_history($1)", self._space)  # noqa: S608
        except FAILURES:
            return None
        if row[0] is None:  # the state was lost
            return None
        self.history = history = Timeline(*row)
        return history

    async def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        while self._idle:
            self._idle.pop().terminate()

    def told(self, error: BaseException) -> str:
        """An error's text without credentials, on one line."""
        return self._server.told(error)

    def judge(self, error: Exception) -> None:
        """Return for what passes, raise for what does not."""
        if getattr(error, "sqlstate", None) == LOST:
            raise self.lost(self.told(error)) from None
        if isinstance(error, MISSING):
            raise self.lost("its tables are gone") from None
        if isinstance(error, PASSING) or getattr(error, "sqlstate", None) == RESTARTED:
            return
        if isinstance(error, POOLED):
            raise OutputError(f"the shared state at {self.shown} cannot be used: {POOLER}") from None
        if isinstance(error, CLOSED) and not isinstance(error, ValueError):
            return
        if isinstance(error, errors.PostgresError | errors.InterfaceError):
            raise OutputError(f"the shared state at {self.shown} cannot be written: {self.told(error)}") from None
        raise error

    def refusal_in(self, error: Exception) -> str | None:
        """See `StateConnection.refusal_in`."""
        if isinstance(error, errors.DiskFullError):
            return "is full: its PostgreSQL has no disk left"
        reads = isinstance(error, errors.ReadOnlySQLTransactionError)
        return "cannot be written: its PostgreSQL only reads" if reads else None

    def _take(self) -> Any:
        """One that is open, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _connect(self) -> Any:
        """A statement that we no longer wait for is not to be carried out much later."""
        connection = await self._server.connect(TIMEOUT)
        if not self._pooled:
            try:
                await connection.execute(BOUND)
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _enter(self) -> None:
        self._space, self.token, born, host, generation, version = await self._enter_or_make()
        check_version(version, self.schema, self.shown)
        if host != self._host:
            raise UsageError(
                f"the state at {self.shown} belongs to the API at {host}, this run goes to {self._host}: "
                "use another database, ?schema= or workspace"
            )
        self.born, self._generation = born / 1e6, generation

    async def _enter_or_make(self) -> Any:
        """Having made, or brought up, what is not there as it should be."""
        with suppress(*MISSING):
            row = await self._ask_to_enter()
            if row[-1] >= VERSION:
                return row
        await self._make()
        return await self._ask_to_enter()

    async def _enter_again(self) -> None:
        """The server was restarted, or is another: know it as it is now, in the epoch that we know."""
        space, token, _, _, generation, _ = await self._ask_to_enter()
        if (space, token) == (self._space, self.token) and generation != self._generation:
            self._generation = generation
            self.found_another()

    async def _ask_to_enter(self) -> Any:
        schema = quoted(self.schema)
        version = f"(SELECT max(version) FROM {schema}.schema_version)"  # noqa: S608
        sql = f"SELECT e.*, {version} FROM {schema}.enter($1, $2, $3) AS e"  # noqa: S608
        (row,) = await self.fetch(sql, self._workspace, secrets.token_hex(8), self._host)
        return row

    async def _make(self) -> None:
        async with asyncio.timeout(10 * TIMEOUT):
            connection = await self._server.connect(TIMEOUT)
        try:
            async with asyncio.timeout(10 * TIMEOUT):
                await make_schema(connection, self.schema, self.shown)
        finally:
            connection.terminate()

    def _unusable(self, error: BaseException) -> UsageError:
        if isinstance(error, POOLED):
            return UsageError(f"--state {self.shown} cannot be used: {POOLER}")
        if isinstance(error, PASSING + CLOSED) and not isinstance(error, REFUSED):
            return StateAway(f"--state {self.shown} cannot be used: {self.told(error)}")
        return UsageError(f"--state {self.shown} cannot be used: {self.told(error)}")
