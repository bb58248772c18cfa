"""`?durable=wait` on a server that a real replica follows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from sender.shared_state.state_url import open_state
from tests.support.ledgers import handed
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def follower(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, fsync="everysec").start()
    server.do("REPLICAOF", "127.0.0.1", str(redis_server.port))
    ends = time.monotonic() + 30
    while server.do("INFO", "replication")["master_link_status"] != "up":
        assert time.monotonic() < ends
        time.sleep(0.05)
    yield server
    server.resume()
    server.stop()


async def test_a_hand_over_waits_until_a_replica_has_it(redis_server: RedisServer, follower: RedisServer) -> None:
    state = await open_state(redis_server.url + "?durable=wait", host="api")
    try:
        assert await state.ledger.hand_over([handed("a")]) == {}
        follower.pause()
        waiting = asyncio.create_task(state.ledger.hand_over([handed("b")]))
        done, _ = await asyncio.wait([waiting], timeout=4)
        assert not done, "no replica has it: nobody may send"
        follower.resume()
        assert await asyncio.wait_for(waiting, 30) == {}, "its own hand-over, said again, is no other's"
        assert await state.ledger.count() == {"handed_over": 2}
    finally:
        await state.close()
