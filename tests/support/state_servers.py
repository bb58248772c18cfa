"""Real servers for a shared state, and what tests do behind its back: one for the session, empty for each test."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import pytest

from tests.support.databases import PostgresServer, find
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sender.shared_state.shared_state import SharedState

PREFIX = "sender:{default}:"
"""Of every key that the state of an unnamed workspace has in Redis."""


class RedisState(RedisServer):
    """A state in Redis."""

    def clear(self) -> None:
        self.do("CLIENT", "UNPAUSE")
        self.do("FLUSHALL")

    lose_all = clear

    def bury(self, state: SharedState) -> None:
        """As if its heartbeat had stopped more than 30 s ago."""
        assert self.do("HEXISTS", PREFIX + "owners", state.ledger.run)
        self.do("HSET", PREFIX + "owners", state.ledger.run, 1)

    def open_lane(self, lane: str) -> None:
        """As if the lane had been in use for long."""
        self.do("HSET", f"{PREFIX}lane:{lane}", "floor", 0)

    def lose(self, *keys: str) -> None:
        """As after a power loss: these jobs were not yet on the disk."""
        self.do("DEL", *(PREFIX + f"j:{key}" for key in keys))

    def set_last_slot(self, lane: str, unix: float) -> None:
        self.do("HSET", f"{PREFIX}lane:{lane}", "last", int(unix * 1e6))

    def date_lives(self, states: Iterable[SharedState], *, beat: int, deadline: int) -> None:
        """Instants in microseconds of the server's clock."""
        self.do("HSET", PREFIX + "meta", "beat", beat)
        for state in states:
            self.do("HSET", PREFIX + "owners", state.ledger.run, deadline)

    def lives(self) -> list[int]:
        """The owners' deadlines, and when one of them last said that it lives."""
        found = self.do("HGETALL", PREFIX + "owners")
        return [*map(int, found.values()), int(self.do("HGET", PREFIX + "meta", "beat"))]

    def now(self) -> int:
        seconds, microseconds = self.do("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)

    def expires(self, key: str) -> float | None:
        """Seconds until a job is forgotten; None for never."""
        left = self.do("PTTL", PREFIX + f"j:{key}")
        return None if left == -1 else left / 1000

    def spoil_counts(self) -> str:
        """Make counting fail for good; returns what the server says then."""
        self.do("DEL", PREFIX + "counts")
        self.do("SET", PREFIX + "counts", "text")
        return "WRONGTYPE"

    async def replace(self, states: Iterable[SharedState]) -> None:
        """Another server stands behind the URL."""
        self.do("HSET", PREFIX + "meta", "server", "another")
        for state in states:
            connection: Any = state._connection
            connection._server = "another"
            await connection._redis.connection_pool.disconnect()

    def leftovers(self) -> int:
        return int(self.do("EXISTS", PREFIX + "owners", PREFIX + "seq:1", PREFIX + "outbox:1"))


class PostgresState(PostgresServer):
    """A state in PostgreSQL."""

    _stall: subprocess.Popen[bytes] | None = None

    def rows(self, sql: str, *arguments: Any) -> list[Any]:
        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.url, timeout=10)
            try:
                return list(await connection.fetch(sql, *arguments))
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:  # the caller may have a loop of its own
            return thread.submit(asyncio.run, ask()).result()

    def do(self, sql: str, *arguments: Any) -> None:
        self.rows(sql, *arguments)

    def script(self, sql: str) -> None:
        """Many statements."""
        super().do(sql)

    def end(self, how: str) -> None:
        """As `pg_ctl stop -m` does: smart takes no new clients, and waits for the others, which are sent away then."""
        assert self._process
        self._process.send_signal({"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])
        if how == "smart":
            time.sleep(0.3)
            self._process.send_signal(signal.SIGINT)
        self._process.wait(20)
        self._process = None

    @contextmanager
    def passwords(self, role: str) -> Iterator[None]:
        """This role needs its password meanwhile."""
        file = self.folder / "data" / "pg_hba.conf"
        before = file.read_text()
        file.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{before}")
        self.do("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            file.write_text(before)
            self.do("SELECT pg_reload_conf()")

    def cut_off(self) -> None:
        """Follow nobody any more, without knowing it."""
        self.do("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
        self.do("SELECT pg_reload_conf()")

    def clear(self) -> None:
        if self._stall is not None:
            self._stall.wait(30)
        self.do("DROP SCHEMA IF EXISTS sender CASCADE")

    def lose_all(self) -> None:
        self.clear()

    def stall(self, seconds: float) -> None:
        """Answer nothing for so long, as a server whose disk or processor stands still; returns at once."""
        lock = "LOCK TABLE sender.workspaces IN ACCESS EXCLUSIVE MODE"
        sql = f"BEGIN; SET LOCAL statement_timeout = 0; {lock}; SELECT pg_sleep({seconds}); COMMIT;"
        command = [find("psql", "postgresql"), self.url, "-qc", sql]
        self._stall = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        held = "SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND pid <> pg_backend_pid()"
        while self._stall.poll() is None and not self.rows(held):
            time.sleep(0.01)

    def bury(self, state: SharedState) -> None:
        assert self.rows("UPDATE sender.owners SET deadline = 1 WHERE owner = $1 RETURNING 1", state.ledger.run)

    def open_lane(self, lane: str) -> None:
        self.do("UPDATE sender.lanes SET lowest = 0 WHERE name = $1", lane)

    def lose(self, *keys: str) -> None:
        for table in ("held", "jobs"):
            self.do(f"DELETE FROM sender.{table} WHERE key = ANY ($1::text[])", list(keys))

    def set_last_slot(self, lane: str, unix: float) -> None:
        self.do("UPDATE sender.lanes SET last = $2 WHERE name = $1", lane, unix * 1e6)

    def date_lives(self, states: Iterable[SharedState], *, beat: int, deadline: int) -> None:
        self.do("UPDATE sender.workspaces SET beat = $1", beat)
        runs = [state.ledger.run for state in states]
        self.do("UPDATE sender.owners SET deadline = $1 WHERE owner = ANY ($2::bigint[])", deadline, runs)

    def lives(self) -> list[int]:
        return [row[0] for row in self.rows("SELECT deadline FROM sender.owners UNION ALL "
                                            "SELECT beat FROM sender.workspaces")]

    def now(self) -> int:
        return int(self.rows("SELECT sender.microseconds()")[0][0])

    def expires(self, key: str) -> float | None:
        rows = self.rows("SELECT (until - sender.microseconds()) / 1e6 FROM sender.jobs WHERE key = $1 AND key NOT IN "
                         "(SELECT key FROM sender.held)", key)
        return None if not rows or rows[0][0] is None else float(rows[0][0])

    def spoil_counts(self) -> str:
        self.do("ALTER TABLE sender.tally RENAME COLUMN jobs TO number")
        return "does not exist"

    async def replace(self, states: Iterable[SharedState]) -> None:
        assert states
        self.do("UPDATE sender.workspaces SET server = 'another'")

    def leftovers(self) -> int:
        (row,) = self.rows("SELECT (SELECT count(*) FROM sender.owners) + (SELECT count(*) FROM sender.outbox)")
        return int(row[0])


StateServer = RedisState | PostgresState
T = TypeVar("T", RedisState, PostgresState)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisState]:
    server = RedisState(tmp_path_factory.mktemp("redis"), fsync="everysec").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresState]:
    server = PostgresState()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisState) -> RedisState:
    """A server with nothing in it."""
    return _empty(shared_redis)


@pytest.fixture
def postgres_server(shared_postgres: PostgresState) -> PostgresState:
    """A server with nothing in it."""
    return _empty(shared_postgres)


@pytest.fixture(params=["redis", "postgres"])
def state_server(request: pytest.FixtureRequest) -> StateServer:
    """Each server that a state may be on, with nothing in it."""
    found: StateServer = request.getfixturevalue(f"{request.param}_server")
    return found


def _empty(server: T) -> T:
    if not server.is_running:
        server.start()
    server.clear()
    return server
