"""What only a state in PostgreSQL meets: URLs, roles, settings, the ways in which a server goes, and failovers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sender.errors import StateAway, UsageError
from sender.ledger import LOST_NOTE
from sender.shared_state.postgres.schema import rights_of, sql_of
from sender.shared_state.postgres.server import examine
from sender.shared_state.postgres.timeline import Timeline
from sender.shared_state.state_url import check_state_url, open_state
from tests.support.databases import PgBouncer, find
from tests.support.ledgers import final, handed, state_of
from tests.support.state_servers import PostgresState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sender.shared_state.shared_state import SharedState

GOOD = {"server_version_num": "150004", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
        "synchronous_standby_names": ""}


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[SharedState]:
    state = await open_state(url, host="api", **more)
    try:
        yield state
    finally:
        await state.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgres://user:hunter2@h", "must look like"),
        ("postgres://user:hunter2@h/db/more", "must look like"),
        ("postgres://user:hunter2@h:x/db", "must look like"),
        ("postgres://user:hunter2@h/db?table=hunter2", "no parameter table"),
        ("postgres://user:hunter2@h/db?schem=x", "is schema meant"),
        ("postgres://user:hunter2@h/db?schema=", "with a value"),
        ("postgres://user:hunter2@h,/db", "host is missing"),
        ("postgres:///db", "names no host"),
        ("postgres://user:hunter2@h/db?schema=" + "x" * 64, "too long"),
        ("postgres://user:hunter2@h/db#hunter2", "must look like"),
        ("postgres://[hunter2/db", "must look like"),
        ("postgres://u:pass:hunter2/db", "must look like"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_state_url(url)
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_any_url_is_taken_or_refused_in_a_sentence(rest: str) -> None:
    with suppress(UsageError):
        assert len(check_state_url(f"postgres://{rest}")) == 2


def test_urls_that_are_taken() -> None:
    assert check_state_url("postgresql://u:p@a:1,b/d?schema=x&sslmode=require") == (
        "postgresql://u:p@a:1,b/d?sslmode=require", ""
    )
    assert check_state_url("postgres:///d?host=/run/postgresql")[1] == ""


async def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sender.shared_state.postgres.server", None)
    with pytest.raises(UsageError, match=r"pip install 'sender\[postgres\]'"):
        await open_state("postgres://h/d", host="api")


async def test_nobody_there() -> None:
    with pytest.raises(StateAway, match="cannot be used") as caught:
        await open_state("postgres://user:hunter2@127.0.0.1:1/db", host="api")
    assert "hunter2" not in str(caught.value)
    assert "***@127.0.0.1:1" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "promise", "warnings"),
    [
        ({}, "on the server's disk before the first byte", 0),
        ({"synchronous_commit": "off"}, "on the server's disk before the first byte", 0),
        ({"synchronous_standby_names": "*"}, "synchronous standbys have it", 0),
        ({"synchronous_standby_names": "*", "synchronous_commit": "local"}, r"leaves$", 0),
        ({"full_page_writes": "off"}, "on the server's disk", 1),
        ({"fsync": "off"}, "may cost anything", 1),
    ],
)
def test_which_guarantee_holds(settings: dict[str, str], promise: str, warnings: int) -> None:
    found, told = examine(GOOD | settings, shown="postgres://h/d")
    assert re.search(promise, found)
    assert len(told) == warnings


def test_a_server_that_is_too_old() -> None:
    with pytest.raises(UsageError, match="13 or later"):
        examine(GOOD | {"server_version_num": "120009"}, shown="postgres://h/d")


def test_what_a_timeline_tells_of_a_failover() -> None:
    primary = Timeline("1/1", 1000, "", None)
    assert not primary.follows(None)
    promoted = Timeline("1/2", 1500, "1/1", 1000)
    assert promoted.follows(None)
    assert promoted.follows(primary)
    assert not promoted.lost(primary)
    assert promoted._replace(left_at=999).lost(primary)
    assert promoted._replace(left_at=None).lost(primary), "restarted before anybody saw it: nobody knows how far it was"
    assert not promoted._replace(left_at=999).lost(None)
    assert not promoted.lost(promoted)
    assert Timeline("2/1", 5, "1/1", None).lost(primary), "a copy that was restored elsewhere"


async def test_a_schema_of_its_own_and_another_version(postgres_server: PostgresState) -> None:
    url = postgres_server.url + "?schema=odd%22name"
    async with opened(url) as odd, opened(postgres_server.url) as usual:
        await odd.ledger.finish([final("a", result="with\0nul")])
        assert await state_of(usual.ledger, "a") is None
        assert await odd.ledger.known_results(["with\0nul"]) == {"with\ufffdnul"}
    postgres_server.do('UPDATE "odd""name".schema_version SET version = 99')
    postgres_server.do('DELETE FROM "odd""name".workspaces')
    with pytest.raises(UsageError, match="of another version"):
        await open_state(url, host="api")
    postgres_server.do('DROP SCHEMA "odd""name" CASCADE')


EARLIER = """
ALTER TABLE earlier.lanes DROP COLUMN divided, DROP COLUMN version, DROP COLUMN division, DROP COLUMN heard;
DROP FUNCTION earlier.find(integer, text, integer, bigint, text[]);
CREATE FUNCTION earlier.find(space integer, epoch text, seen integer, who bigint, keys text[])
RETURNS TABLE (key text, state text) LANGUAGE sql AS 'SELECT key, state FROM earlier.jobs';
UPDATE earlier.schema_version SET version = 1;
"""


async def test_a_schema_of_an_earlier_version_is_brought_up_and_keeps_what_it_knows(
    postgres_server: PostgresState
) -> None:
    postgres_server.script("DROP ROLE IF EXISTS late; CREATE ROLE late LOGIN;" + sql_of("earlier") + rights_of(
        "earlier", "late"))
    url = postgres_server.url + "?schema=earlier"
    async with opened(url) as state:
        await state.ledger.finish([final("a", "rejected"), final("b", result="d1")])
    postgres_server.script(EARLIER)
    with pytest.raises(UsageError, match="earlier version, and this role may not bring it up") as caught:
        await open_state(url.replace("//tester", "//late"), host="api")
    assert "sender.shared_state.postgres.schema earlier --upgrade" in str(caught.value)
    states = await asyncio.gather(*(open_state(url, host="api") for _ in range(3)))
    for state in states:
        found = await state.ledger.find(["a", "b"])
        assert {key: (one.state, one.result, one.error) for key, one in found.items()} == {
            "a": ("rejected", None, None), "b": ("sent", "d1", None),
        }
        await state._server.lanes.ask("send", "declare", 100, 100, 1_000_000)
        holders = await state._server.lanes.divide(
            state.ledger.run, "send", 0, b"one", parts=True, care=1_000_000
        )
        assert holders is not None
        assert (holders.division, holders.version) == (b"one", 1)
        await state.close()
    printed = subprocess.run([sys.executable, "-m", "sender.shared_state.postgres.schema", "earlier", "--upgrade"],
                             capture_output=True, check=True)
    postgres_server.script(printed.stdout.decode())
    async with opened(url.replace("//tester", "//late")) as state:
        assert await state_of(state.ledger, "b") == "sent"
    postgres_server.script("DROP SCHEMA earlier CASCADE; DROP ROLE late;")


async def test_of_many_that_make_the_schema_one_does(postgres_server: PostgresState) -> None:
    states = await asyncio.gather(*(open_state(postgres_server.url, host="api") for _ in range(6)))
    assert sorted(state.ledger.run for state in states) == [1, 2, 3, 4, 5, 6]
    for state in states:
        await state.close()


async def test_a_role_with_the_documented_rights_is_enough(postgres_server: PostgresState, tmp_path: Path) -> None:
    postgres_server.do("DROP ROLE IF EXISTS plain")
    postgres_server.do("CREATE ROLE plain LOGIN PASSWORD 's3cret'")
    url = postgres_server.url.replace("//tester", "//plain")
    with pytest.raises(UsageError, match="no schema sender that this role may use") as caught:
        await open_state(url, host="api")
    assert "sender.shared_state.postgres.schema sender" in str(caught.value)
    postgres_server.script(sql_of())
    for right in ("USAGE ON SCHEMA sender", "EXECUTE ON ALL FUNCTIONS IN SCHEMA sender",
                  "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sender"):
        postgres_server.do(f"GRANT {right} TO plain")
    async with opened(url) as state:
        await state.ledger.hand_over([handed("a")])
        await state.ledger.finish([final("a")])
        await state.pacer("send", 100).look()
    with postgres_server.passwords("plain"):
        with pytest.raises(UsageError, match="password") as caught:
            await open_state(url.replace("plain", "plain:hunter2"), host="api")
        assert "hunter2" not in str(caught.value)
        (tmp_path / "pass").write_text("*:*:*:plain:s3cret\n")
        (tmp_path / "pass").chmod(0o600)
        with capture_logs() as logs:
            async with opened(f"{url}?passfile={tmp_path}/pass") as state:
                assert await state_of(state.ledger, "a") == "sent"
        assert "s3cret" not in str(logs)


async def test_who_owns_the_schema_makes_the_rest(postgres_server: PostgresState) -> None:
    postgres_server.script("DROP SCHEMA IF EXISTS owned CASCADE; DROP ROLE IF EXISTS owner; CREATE ROLE owner LOGIN; "
                           "CREATE SCHEMA owned AUTHORIZATION owner;")
    async with opened(postgres_server.url.replace("//tester", "//owner") + "?schema=owned") as state:
        await state.ledger.hand_over([handed("a")])
        connection: Any = state._connection
        bound = (await connection.fetch("SHOW statement_timeout"))[0][0]
        assert bound == "1800ms", "nothing is carried out long after it was given up"
    postgres_server.script("DROP SCHEMA owned CASCADE; DROP ROLE owner;")


async def test_a_commit_waits_for_the_disk_whatever_the_role_says(postgres_server: PostgresState) -> None:
    async with opened(postgres_server.url) as state:
        connection: Any = state._connection
        sql = ("WITH off AS (SELECT set_config('synchronous_commit', 'off', true)), "
               "called AS (SELECT sender.known($1, $2, $3, {}) FROM off) "
               "SELECT current_setting('synchronous_commit') FROM called")
        epoch = connection._space, connection.token, connection._generation
        for lasts, found in ((True, "on"), (False, "off")):
            assert (await connection.fetch(sql.format(lasts), *epoch))[0][0] == found


async def test_a_statement_timeout_and_a_stall_are_waited_out(postgres_server: PostgresState) -> None:
    url = postgres_server.url + "?schema=sender"
    postgres_server.do("ALTER ROLE tester SET statement_timeout = '150ms'")
    try:
        async with opened(url) as state:
            postgres_server.stall(0.7)
            with capture_logs() as logs:
                await state.ledger.hand_over([handed("a")])
            assert "the state answers again" in [line["event"] for line in logs]
            assert await state_of(state.ledger, "a") == "handed_over"
    finally:
        postgres_server.do("ALTER ROLE tester RESET statement_timeout")


async def test_a_server_that_only_reads_is_away(postgres_server: PostgresState) -> None:
    async with opened(postgres_server.url) as state:
        postgres_server.do("ALTER ROLE tester SET default_transaction_read_only = on")
        connection: Any = state._connection
        while connection._idle:
            connection._idle.pop().terminate()
        waiting = asyncio.create_task(state.ledger.hand_over([handed("a")]))
        async with asyncio.timeout(20):
            while state.reachable:
                await asyncio.sleep(0.02)
        assert not waiting.done()
        postgres_server.script("SET default_transaction_read_only = off; ALTER ROLE tester RESET ALL;")
        while connection._idle:
            connection._idle.pop().terminate()
        async with asyncio.timeout(20):
            assert await waiting == {}


@pytest.mark.parametrize("how", ["smart", "fast", "immediate", "backend"])
async def test_what_was_told_outlives_every_way_of_going(postgres_server: PostgresState, how: str) -> None:
    """A server that is asked to stop, or dies, keeps all; every lane waits for what may have been granted before."""
    async with opened(postgres_server.url) as state:
        pacer = state.pacer("send", 100)
        await pacer.look()
        await state.ledger.hand_over([handed("held"), handed("end")])
        await state.ledger.finish([final("end")])
        await state._server.lanes.ask("send", "declare", "100", 100, 1_000_000)
        postgres_server.open_lane("send")
        if how == "backend":
            (row,) = postgres_server.rows("SELECT pid FROM pg_stat_activity WHERE query LIKE '%sender%' AND "
                                          "pid <> pg_backend_pid() LIMIT 1")
            os.kill(row[0], signal.SIGKILL)
        else:
            postgres_server.end(how)
            postgres_server.start()
        async with asyncio.timeout(30):
            assert await state_of(state.ledger, "held") == "handed_over"
            while not state.settled or not state.ledger.restarts:
                await asyncio.sleep(0.02)
        assert await state.ledger.count() == {"handed_over": 1, "sent": 1}
        assert await state.ledger.get_note(LOST_NOTE) is None, "nothing was forgotten"
        assert postgres_server.rows("SELECT lowest > 0 FROM sender.lanes")[0][0]


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_that_forgets_prepared_statements_is_refused(postgres_server: PostgresState, mode: str) -> None:
    pooler = PgBouncer(postgres_server)
    try:
        pooler.start()
        url = pooler.url(mode)
        if mode == "transaction":
            with pytest.raises(UsageError, match="a pooler is between that knows no prepared statements"):
                await open_state(url, host="api")
        else:
            async with opened(url) as state:
                await asyncio.gather(*(state.ledger.hand_over([handed(f"k{n}")]) for n in range(8)))
                assert await state.ledger.count() == {"handed_over": 8}
    finally:
        pooler.stop()


class Standby(PostgresState):
    """Follows another server from a copy of it."""

    def __init__(self, primary: PostgresState) -> None:
        super().__init__()
        self._primary = primary

    def prepare(self) -> None:
        if not (self.folder / "data").exists():
            source = f"host=127.0.0.1 port={self._primary.port} user=tester"
            command = [find("pg_basebackup", "postgresql"), "-D", str(self.folder / "data"), "-d", source, "-R", "-X",
                       "stream", "-c", "fast"]
            subprocess.run(command, check=True, capture_output=True, user=self.user, cwd=self.folder)

    def is_ready(self) -> bool:
        with suppress(Exception):
            return bool(self.rows("SELECT 1"))
        return False


@pytest.fixture
def pair() -> Iterator[tuple[PostgresState, Standby]]:
    primary = PostgresState()
    standby = Standby(primary)
    try:
        primary.start()
        yield primary, standby.start()
    finally:
        primary.stop()
        standby.stop()


@pytest.mark.parametrize("loses", [True, False])
async def test_a_failover_is_followed_and_what_it_lost_is_recognised(
    pair: tuple[PostgresState, Standby], loses: bool
) -> None:
    primary, standby = pair
    url = primary.url.replace(f":{primary.port}", f":{standby.port},127.0.0.1:{primary.port}")
    async with opened(url) as living, opened(url) as dead:
        await living.ledger.hand_over([handed("before"), handed("ended")])
        position = primary.rows("SELECT pg_current_wal_flush_lsn()::text")[0][0]
        async with asyncio.timeout(30):
            while not standby.rows("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", position)[0][0]:
                await asyncio.sleep(0.02)
        if loses:
            standby.cut_off()
            async with asyncio.timeout(30):
                while standby.rows("SELECT FROM pg_stat_wal_receiver"):
                    await asyncio.sleep(0.02)
        await living.ledger.finish([final("ended")])
        await living.ledger.hand_over([handed("after")])
        await dead.ledger.hand_over([handed("gone")])
        await living._connection.look_at_history()
        if not loses:
            position = primary.rows("SELECT pg_current_wal_flush_lsn()::text")[0][0]
            async with asyncio.timeout(30):
                while not standby.rows("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", position)[0][0]:
                    await asyncio.sleep(0.02)
        primary.kill()
        standby.do("SELECT pg_promote()")
        await dead.ledger.close()  # says nothing more
        async with asyncio.timeout(40):
            assert await state_of(living.ledger, "before") == "handed_over"
            while not living.settled or not living.ledger.restarts:
                await asyncio.sleep(0.05)
        found = await living.ledger.find(["before", "ended", "after", "gone"])
        known = {key: record.state for key, record in found.items()}
        kept = {"before": "handed_over", "ended": "sent", "after": "handed_over"}
        assert known == (kept if loses else kept | {"gone": "handed_over"})
        assert (await living.ledger.get_note(LOST_NOTE) is not None) == loses
