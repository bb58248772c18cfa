"""How a connection to Redis ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from sender.queues.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.support.servers import RedisServer as RunningServer


def test_a_write_to_a_transport_that_is_closed_is_a_lost_connection(redis_server: RunningServer) -> None:
    """uvloop raises a RuntimeError, which ended the consumer as a fault of its own."""

    async def write() -> None:
        client = RedisServer.of(redis_server.url, {}).open("key")
        connection: Any = await client.connection_pool.get_connection()
        connection._writer.transport.abort()
        with pytest.raises(RedisConnectionError):
            await connection.send_command("PING")
        assert await client.ping(), "the next call is on a new connection"
        await client.aclose()

    uvloop.run(write())
