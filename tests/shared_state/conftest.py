from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.shared_state.server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """A server with nothing in it."""
    if shared_redis.process.poll() is not None:
        shared_redis.start()
    shared_redis.do("CLIENT", "UNPAUSE")
    shared_redis.do("FLUSHALL")
    return shared_redis
