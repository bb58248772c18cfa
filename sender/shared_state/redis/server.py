"""Opening a shared state in Redis: connect, and look whether the server keeps what it is told."""

from __future__ import annotations

from typing import Any

from redis.exceptions import RedisError, ResponseError

from sender.errors import StateAway
from sender.shared_state.redis.connection import RedisConnection
from sender.shared_state.redis.jobs import RedisJobs
from sender.shared_state.redis.lanes import RedisLanes
from sender.shared_state.redis.server_settings import ASKED, examine
from sender.shared_state.state_server import StateServer


async def open_server(url: str, workspace: str, host: str, *, keep: float, durable: str) -> StateServer:
    """UsageError or StateAway when it cannot be used."""
    connection = await RedisConnection.open(url, workspace, host)
    try:
        version = (await _ask(connection, "INFO", "server") or {}).get("redis_version", "7.0")
        finding = examine(version, await _settings(connection), durable=durable, shown=connection.shown)
    except BaseException:
        await connection.close()
        raise
    connection.wait_for(durable)
    jobs, lanes = RedisJobs(connection, keep), RedisLanes(connection)
    return StateServer(connection, jobs, lanes, finding.durability, finding.warnings)


async def _ask(connection: RedisConnection, *command: str) -> Any:
    try:
        return await connection.command(*command)
    except ResponseError:
        return None
    except (RedisError, OSError) as error:
        raise StateAway(f"--state {connection.shown} cannot be used: {connection.told(error)}") from None


async def _settings(connection: RedisConnection) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for name in ASKED:
        answer = await _ask(connection, "CONFIG GET", name)
        if answer is None:
            return None
        found |= answer
    return found
