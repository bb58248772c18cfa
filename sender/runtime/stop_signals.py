"""A StopRequest ends a run early: the first one in order, the second one at once (docs/operations.md).

SIGINT, SIGTERM and SIGHUP each are such a request; a SIGHUP that was ignored before, as by nohup, stays so.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from sender.runtime.tasks import unless

if TYPE_CHECKING:
    from collections.abc import Coroutine

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


class Stop(Protocol):
    """Ends a part of a run early."""

    def __call__(self, *, now: bool) -> None:
        """In order, or at once."""


class StopRequest:
    """Whether the run has to end, and who has to know."""

    def __init__(self) -> None:
        self.count = 0
        """How often it was asked for."""
        self._asked = asyncio.Event()
        self._told: list[Stop] = []

    @property
    def asked(self) -> bool:
        """Whether it was asked for."""
        return self.count > 0

    def ask(self) -> None:
        """Ask once more; the second time means at once."""
        self.count += 1
        self._asked.set()
        for stop in self._told:
            stop(now=self.count > 1)

    def on_asked(self, stop: Stop) -> None:
        """Have every request told, those before this call too."""
        self._told.append(stop)
        if self.count:
            stop(now=self.count > 1)

    async def wait(self) -> None:
        """Return once it was asked for."""
        await self._asked.wait()

    async def unless_asked(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the work returns; None when a stop was asked for before, and then the work is cancelled."""
        return await unless(self._asked, work)


class StopSignals:
    """A context in which the signals ask for a stop."""

    def __init__(self, request: StopRequest) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._numbers = [number for number in STOPPING if not (ignored and number == signal.SIGHUP)]

    def __enter__(self) -> Self:
        for number in self._numbers:
            self._loop.add_signal_handler(number, self._request.ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._numbers:
            self._loop.remove_signal_handler(number)
