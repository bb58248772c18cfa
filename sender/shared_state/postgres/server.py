"""Opening a shared state in PostgreSQL: connect, make what is missing, look whether the server keeps what it is told.

A call that says what may be sent, or what has ended, returns when it is on the server's disk: `synchronous_commit` is
set for it where it is off. Only `fsync` and `full_page_writes` of the server itself can undo that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.errors import StateAway, UsageError
from sender.queues.postgres_server import DATABASE, PostgresServer
from sender.shared_state.postgres.connection import FAILURES, PostgresConnection
from sender.shared_state.postgres.jobs import PostgresJobs
from sender.shared_state.postgres.lanes import PostgresLanes
from sender.shared_state.state_server import StateServer

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOKS: Final = "postgres://USER@HOST/DATABASE"
LEAST: Final = 130000
ASKED: Final = ("server_version_num", "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")


def check_url(url: str) -> PostgresServer:
    """UsageError when it is wrong, whether or not its server is there."""
    server = PostgresServer.of(url, ("schema",), looks=f"--state {LOOKS}")
    if len(server.options.get("schema", "").encode()) > 63 or "\0" in server.options.get("schema", ""):
        raise UsageError(f"--state {server.shown}: the schema's name is too long, or none")
    return server


async def open_server(url: str, workspace: str, host: str, *, keep: float) -> StateServer:
    """UsageError or StateAway when it cannot be used."""
    connection = await PostgresConnection.open(check_url(url), workspace, host)
    try:
        settings = await _settings(connection)
        durability, warnings = examine(settings, shown=connection.shown)
    except BaseException:
        await connection.close()
        raise
    jobs, lanes = PostgresJobs(connection, keep), PostgresLanes(connection)
    return StateServer(connection, jobs, lanes, durability, warnings, settings["database"])


def examine(settings: Mapping[str, str], *, shown: str) -> tuple[str, tuple[str, ...]]:
    """(one sentence on which guarantee holds, warnings); UsageError for a server that is too old."""
    if int(settings["server_version_num"]) < LEAST:
        raise UsageError(f"--state {shown} is an older PostgreSQL; 13 or later is needed")
    if settings["fsync"] != "on":
        return "a power loss there may cost anything, since fsync is off", ("fsync is off: set it on",)
    warnings = () if settings["full_page_writes"] == "on" else (
        "full_page_writes is off: a power loss may tear pages, unless the disk writes them whole",
    )
    kept = "a hand-over is on the server's disk before the first byte of its request leaves"
    if settings["synchronous_standby_names"] and settings["synchronous_commit"] not in ("off", "local"):
        kept += "; its synchronous standbys have it, too"
    return kept, warnings


async def _settings(connection: PostgresConnection) -> dict[str, str]:
    """Those that matter, and the database."""
    try:
        rows = await connection.fetch(
            "SELECT name, current_setting(name, true) FROM unnest($1::text[]) AS name", list(ASKED)
        )
        database = (await connection.fetch(DATABASE))[0][0]
    except FAILURES as error:
        raise StateAway(f"--state {connection.shown} cannot be used: {connection.told(error)}") from None
    return {"database": database, **{name: value or "" for name, value in rows}}
