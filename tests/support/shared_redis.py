"""A real redis-server for the tests of what replicas share: one for the session, empty for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), fsync="everysec").start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """A server with nothing in it."""
    if not shared_redis.is_running:
        shared_redis.start()
    shared_redis.do("CLIENT", "UNPAUSE")
    shared_redis.do("FLUSHALL")
    return shared_redis
