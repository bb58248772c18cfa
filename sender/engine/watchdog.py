"""The Watchdog of a lane: notices stalls and outages, and probes an API that is down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.errors import HaltError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.attempt_pool import AttemptPool
    from sender.engine.breaker import Breaker
    from sender.engine.lane_context import LaneContext
    from sender.jobs.kinds import LaneName

EVERY: Final = 0.25
"""Seconds between looks."""


class Watchdog:
    """Looks at a lane again and again."""

    def __init__(
        self, name: LaneName, context: LaneContext, breaker: Breaker, pool: AttemptPool, on_change: Callable[[], None]
    ) -> None:
        self._name = name
        self._context = context
        self._breaker = breaker
        self._pool = pool
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            now = self._loop.time()
            if self._pool.stalled(now):
                self._on_change()
            if self._breaker.state == "open" and now >= self._breaker.retry_at:
                answered = await self._context.api.probe()
                self._breaker.probed(self._loop.time(), answered=answered)
                self._on_change()
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        """End a run whose API has been away for too long."""
        outage = 0.0 if self._breaker.open_since is None else now - self._breaker.open_since
        if outage > self._context.policy.max_outage:
            error = HaltError(f"the API has answered nothing in the lane {self._name} for {outage:,.0f} s")
            self._context.listener.halt(error)
