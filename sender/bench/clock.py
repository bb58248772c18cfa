"""The clock and the alarm of a benchmark, to the microsecond.

uvloop's own clock steps in milliseconds and no loop sleeps finer than that, which is coarse for a request of 300 us.
Both loops count CLOCK_MONOTONIC, as `time.monotonic` does, so its instants are those of the loop with more digits.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_FLAGS: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)

clock: Callable[[], float] = time.monotonic


class Alarm(Protocol):
    """Sleeps until an instant of the clock."""

    async def until(self, instant: float) -> None:
        """Return no earlier than `instant`."""

    def close(self) -> None:
        """Give back what it holds."""


class LoopAlarm:
    """The loop's own timer, exact to about a millisecond."""

    async def until(self, instant: float) -> None:
        """See `Alarm.until`."""
        loop = asyncio.get_running_loop()
        reached = loop.create_future()
        timer = loop.call_at(instant, reached.set_result, None)
        try:
            await reached
        finally:
            timer.cancel()

    def close(self) -> None:
        """Nothing is held."""


class KernelAlarm:
    """A timerfd of the kernel that the loop reads, exact to some ten microseconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = int(self._libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._reached: asyncio.Future[None] | None = None
        self._loop.add_reader(self._fd, self._ring)

    async def until(self, instant: float) -> None:
        """See `Alarm.until`."""
        self._reached = self._loop.create_future()
        seconds, nanoseconds = divmod(max(1, int(instant * 1e9)), 10**9)
        setting = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(setting), None)
        await self._reached

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # it was set anew since the loop saw it ring
            return
        if self._reached is not None and not self._reached.done():
            self._reached.set_result(None)

    def close(self) -> None:
        """Close the timer."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


def make_alarm() -> Alarm:
    """The finest alarm that this system has."""
    try:
        return KernelAlarm()
    except (OSError, AttributeError):  # another system than Linux
        return LoopAlarm()
