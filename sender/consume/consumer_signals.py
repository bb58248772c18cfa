"""ConsumerSignals: what an operator asks for, for the whole life of a process, whatever consumer is at work in it.

SIGTERM, SIGINT  drain; the second one: now
SIGHUP           read the configuration again
SIGUSR1, SIGUSR2 pause, resume
"""

from __future__ import annotations

import asyncio
import signal
from typing import Protocol, Self

from sender.config.live import OperatorSignals


class SignalTarget(Protocol):
    """Who does what is asked for."""

    def drain(self, *, now: bool) -> None:
        """Stop reading and end; or let go of everything at once."""

    def look(self) -> None:
        """Read the configuration again."""

    def pause(self, paused: bool) -> None:
        """Start nothing further in any replica, or go on."""


class ConsumerSignals:
    """Passes signals on to the target; those that came before are given to a new one."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        """Set once the end was asked for."""
        self._now = False
        self._paused: bool | None = None
        self._target: SignalTarget | None = None
        self._operator = OperatorSignals(self._look, self._pause)
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._drain)
        self._operator.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)
        self._operator.__exit__()

    def give_to(self, target: SignalTarget | None) -> None:
        """Who is at work from now on."""
        self._target = target
        if target is None:
            return
        if self._paused is not None:
            target.pause(self._paused)
        if self.draining.is_set():
            target.drain(now=self._now)

    def _drain(self) -> None:
        self._now = self.draining.is_set()
        self.draining.set()
        if self._target is not None:
            self._target.drain(now=self._now)

    def _look(self) -> None:
        if self._target is not None:
            self._target.look()

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._target is not None:
            self._target.pause(paused)
