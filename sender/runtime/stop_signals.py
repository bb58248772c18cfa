"""StopSignals: the first SIGINT or SIGTERM asks for an orderly end, the second for one at once (CONTRACT section 4)."""

from __future__ import annotations

import asyncio
import signal
from typing import Protocol

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stop(Protocol):
    """Ends a run early."""

    def __call__(self, *, now: bool) -> None:
        """In order, or at once."""


class StopSignals:
    """A context in which the two signals call `stop`."""

    def __init__(self, stop: Stop) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._count = 0

    def __enter__(self) -> None:
        for number in STOPPING:
            self._loop.add_signal_handler(number, self._signalled)

    def __exit__(self, *_: object) -> None:
        for number in STOPPING:
            self._loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        self._count += 1
        self._stop(now=self._count > 1)
