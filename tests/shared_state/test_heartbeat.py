"""Who counts as living, when the server's clock is set back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.shared_state.state_url import open_state
from tests.support.replica import PREFIX

if TYPE_CHECKING:
    from tests.support.servers import RedisServer


async def test_after_the_clock_was_set_back_nobody_lives_longer_for_it(redis_server: RedisServer) -> None:
    """A dead replica's part was taken over 50 s later than in 30 s."""
    dead, living = [await open_state(redis_server.url, host="api") for _ in range(2)]
    seconds, _ = redis_server.do("TIME")
    ahead = (seconds + 50) * 1_000_000
    for one in (dead, living):
        redis_server.do("HSET", PREFIX + "owners", one.ledger.run, ahead + 22_000_000)
    redis_server.do("HSET", PREFIX + "meta", "beat", ahead)
    await living.ledger.beat()
    now, _ = redis_server.do("TIME")
    for one in (dead, living):
        deadline = int(redis_server.do("HGET", PREFIX + "owners", one.ledger.run))
        assert deadline <= (now + 23) * 1_000_000
    assert int(redis_server.do("HGET", PREFIX + "meta", "beat")) < (now + 1) * 1_000_000
    await living.close()
    await dead.close()
