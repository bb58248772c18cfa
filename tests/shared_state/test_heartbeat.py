"""Who counts as living, when the server's clock is set back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.shared_state.state_url import open_state

if TYPE_CHECKING:
    from tests.support.state_servers import StateServer


async def test_after_the_clock_was_set_back_nobody_lives_longer_for_it(state_server: StateServer) -> None:
    """A dead replica's part was taken over 50 s later than in 30 s."""
    dead, living = [await open_state(state_server.url, host="api") for _ in range(2)]
    ahead = state_server.now() + 50_000_000
    state_server.date_lives((dead, living), beat=ahead, deadline=ahead + 22_000_000)
    await living.ledger.beat()
    *deadlines, beat = state_server.lives()
    now = state_server.now()
    assert len(deadlines) == 2
    assert max(deadlines) <= now + 23_000_000
    assert beat < now + 1_000_000
    await living.close()
    await dead.close()
