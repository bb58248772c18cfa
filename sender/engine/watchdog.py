"""The Watchdog of a lane: notices stalls, outages and what waits for too long, and probes an API that is down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.runtime.after_arrivals import STOOD_STILL

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.attempt_pool import AttemptPool
    from sender.engine.breaker import Breaker
    from sender.engine.forbidden_jobs import ForbiddenJobs
    from sender.engine.lane_context import Api
    from sender.engine.outage import Outage

EVERY: Final = 0.25
"""Seconds between looks."""
IDLE: Final = 1.0
"""Seconds between looks while nothing is under way and the API answers."""


class Watchdog:
    """Looks at a lane again and again; `has_work` says whether a job waits or is under way."""

    def __init__(
        self,
        api: Api,
        breaker: Breaker,
        pool: AttemptPool,
        outage: Outage,
        forbidden: ForbiddenJobs,
        *,
        has_work: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._api = api
        self._breaker = breaker
        self._pool = pool
        self._outage = outage
        self._forbidden = forbidden
        self._has_work = has_work
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            before, pause = self._loop.time(), self._pause()
            await asyncio.sleep(pause)
            now = self._loop.time()
            if now - before > pause + STOOD_STILL:  # it was this process that gave no sign, not the API
                self._breaker.stood_still(now)
                self._outage.over()
                continue
            if not self._has_work():
                self._outage.over()
            self._forbidden.rule_overdue(now)
            if self._pool.stalled(now):
                self._on_change()
            if self._breaker.state == "open" and now >= self._breaker.probe_at:
                await self._probe()

    def _pause(self) -> float:
        return IDLE if not len(self._pool) and self._breaker.state == "closed" else EVERY

    async def _probe(self) -> None:
        began = self._loop.time()
        wrong = await self._api.probe()
        self._breaker.probed(began, answered=wrong is None)
        if wrong is None:
            self._outage.over()
        elif self._has_work():
            self._outage.met(self._loop.time(), wrong)
        self._on_change()
