"""A Waiter is one sleep that ends at an instant, or earlier when something changes."""

from __future__ import annotations

import asyncio
import math


class Waiter:
    """For one sleeper at a time; instants are loop times, in seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self.until = math.inf
        """When the last sleep was to end; infinite when only `wake` could end it."""

    async def sleep_until(self, instant: float) -> None:
        """Sleep until then, or until `wake`."""
        self._future = self._loop.create_future()
        self.until = instant
        timer = self._loop.call_at(instant, self.wake) if instant < math.inf else None
        try:
            await self._future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """End the sleep, if there is one."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
