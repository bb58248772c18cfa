"""`sender outbox`: the SQL, printed or run."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from sender.cli.main import main
from sender.outbox import schema
from sender.queues import postgres_set_up
from sender.shared_state.state_url import open_state
from tests.support.databases import PostgresServer, find
from tests.support.servers import server_fixture

if TYPE_CHECKING:
    from sender.outbox.outbox_table import OutboxTable

postgres_server = server_fixture(lambda _: PostgresServer(), "postgres_server")


def ask(server: PostgresServer, sql: str) -> str:
    command = [find("psql", "postgresql"), server.url, "-v", "ON_ERROR_STOP=1", "-qAt"]
    return subprocess.run(command, input=sql.encode(), check=True, capture_output=True).stdout.decode().strip()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["outbox", *arguments])
    told = capsys.readouterr()
    return status, told.out + told.err


def test_what_is_printed_makes_what_apply_makes(
    postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    _, sql = run(capsys, "create", "--table", "printed", "--keep-days", "3")
    postgres_server.do(sql)
    status, told = run(capsys, "create", "--table", "applied", "--keep-days", "3", "--apply", postgres_server.url)
    assert (status, told) == (0, "applied: version 1 created\napplied_dead: version 1 created\n")

    def columns(name: str) -> str:
        return ask(postgres_server, "SELECT replace(table_name, 'printed', 'applied'), column_name, data_type "
                   f"FROM information_schema.columns WHERE table_name LIKE '{name}%' ORDER BY 1, 2")

    assert columns("printed") == columns("applied") != ""
    assert run(capsys, "create", "--table", "applied", "--apply", postgres_server.url) == (
        2, "sender: there is a table applied already; sender outbox migrate brings an outbox up\n")
    assert run(capsys, "migrate", "--table", "applied", "--apply", postgres_server.url) == (
        0, "applied: version 1 is the latest\napplied_dead: version 1 is the latest\n")


def test_a_later_version_adds_its_step_and_keeps_the_rows(
    postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "create", "--table", "old", "--keep-days", "1", "--apply", postgres_server.url)
    ask(postgres_server, "INSERT INTO old (job) VALUES ('{}')")

    def second(table: OutboxTable, keep_days: int, roles: schema.Roles) -> str:
        return f"ALTER TABLE {table} ADD COLUMN added integer NOT NULL DEFAULT {keep_days};\n"

    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, second))
    monkeypatch.setattr(postgres_set_up, "VERSION", 2)
    status, told = run(capsys, "migrate", "--table", "old", "--apply", postgres_server.url)
    assert (status, told) == (0, "old: version 1 -> 2\nold_dead: version 1 -> 2\n")
    assert ask(postgres_server, "SELECT job, added FROM old") == "{}|1"
    assert ask(postgres_server, "SELECT obj_description('old'::regclass)") == "sender outbox, version 2"


def test_nothing_is_left_of_a_migration_that_fails(
    postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(table: OutboxTable, keep_days: int, roles: schema.Roles) -> str:
        return "SELECT 1/0;\n"

    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, broken))
    status, told = run(capsys, "create", "--table", "never", "--apply", postgres_server.url)
    assert status == 2
    assert "nothing was changed: division by zero" in told
    assert ask(postgres_server, "SELECT to_regclass('never')") == ""


@pytest.mark.parametrize(("arguments", "says"), [
    (("migrate",), "--from"), (("migrate", "--from", "7"), "1 to 1"), (("create", "--keep-days", "-1"), "0 to 366"),
    (("create", "--table", "Orders"), "no name for an outbox table"),
    (("create", "--apply", "postgres://tester:s3cret@127.0.0.1:1/x"), "nothing was changed"),
    (("create", "--apply", "mysql://x"), "must look like"), (("drop",), "invalid choice"),
    (("create", "--state", "postgres://tester:s3cret@h/x"), "the name of a schema"),
    (("migrate", "--from", "1", "--state", "postgres://tester:s3cret@h/x"), "the name of a schema"),
])
def test_what_is_wrong_is_told(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str) -> None:
    status, told = run(capsys, *arguments)
    assert status == 2
    assert says in told
    assert "s3cret" not in told


def test_the_latest_has_nothing_to_migrate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "migrate", "--from", "1") == (0, "-- version 1 is the latest: there is nothing to do\n")


@pytest.mark.parametrize("how", ["printed", "applied"])
def test_with_the_state_and_its_rights(
    postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    ask(postgres_server, f'CREATE ROLE "replica {how}" LOGIN')
    given = ("create", "--table", f"with_state_{how}", "--consumer", f"replica {how}", "--state", f"state {how}")
    status, sql = run(capsys, *given, *(() if how == "printed" else ("--apply", postgres_server.url)))
    assert status == 0
    if how == "printed":
        postgres_server.do(sql)
    url = postgres_server.url.replace("tester@", f"replica%20{how}@") + f"?schema=state%20{how}"

    async def use() -> list[int]:
        state = await open_state(url, host="api")
        found = [one.number for one in await state.ledger.replicas()]
        await state.close()
        return found

    assert asyncio.run(use()) == [1]
    capsys.readouterr()
    migrate = ("migrate", *given[1:], *(("--from", "1") if how == "printed" else ("--apply", postgres_server.url)))
    status, sql = run(capsys, *migrate)
    assert status == 0
    if how == "printed":
        postgres_server.do(sql)
    else:
        assert "the shared state: brought up" in sql
    assert asyncio.run(use()) == [2], "its rights are as before"


def test_a_role_s_name_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    _, sql = run(capsys, "create", "--writer", 'shop"; DROP TABLE x; --')
    assert '"shop""; DROP TABLE x; --"' in sql
