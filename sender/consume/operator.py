"""The Orders of an operator: signals that hold for the whole life of a consumer, whatever it has to begin anew.

SIGTERM, SIGINT  drain; the second one: now
SIGHUP           read the configuration again
SIGUSR1, SIGUSR2 pause, resume
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Protocol, Self

from sender.config.live import OperatorSignals

if TYPE_CHECKING:
    from types import TracebackType


class Obeying(Protocol):
    """Who carries them out."""

    def drain(self, *, now: bool) -> None:
        """Stop reading and end; or let go of everything at once."""

    def look(self) -> None:
        """Read the configuration again."""

    def pause(self, paused: bool) -> None:
        """Start nothing further in any replica, or go on."""


class Orders:
    """Signals on their way to whoever is at work; those that came before are given to a newcomer."""

    def __init__(self) -> None:
        self.signals = 0
        """How often the end was asked for."""
        self.draining = asyncio.Event()
        self._paused: bool | None = None
        self._obeying: Obeying | None = None
        self._operator = OperatorSignals(self._look, self._pause)
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._drain)
        self._operator.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)
        self._operator.__exit__(kind, error, trace)

    def give_to(self, obeying: Obeying | None) -> None:
        """Who is at work from now on."""
        self._obeying = obeying
        if obeying is None:
            return
        if self._paused is not None:
            obeying.pause(self._paused)
        if self.signals:
            obeying.drain(now=self.signals > 1)

    def _drain(self) -> None:
        self.signals += 1
        self.draining.set()
        if self._obeying is not None:
            self._obeying.drain(now=self.signals > 1)

    def _look(self) -> None:
        if self._obeying is not None:
            self._obeying.look()

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._obeying is not None:
            self._obeying.pause(paused)
