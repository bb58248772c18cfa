"""A loop whose clock jumps: nothing ready means the next timer is due now, so an hour takes no time."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class _JumpingSelector(selectors.BaseSelector):
    """Never waits: what it was asked to wait for is added to the loop's clock."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.offset = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = self._inner.select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            return self._inner.select(5) or self._deadlock()
        self.offset += timeout
        return events

    @staticmethod
    def _deadlock() -> Any:
        raise RuntimeError("every task waits and no timer is set: deadlock in virtual time")

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> Any:
        return self._inner.unregister(fileobj)

    def get_map(self) -> Any:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, starting at 1000."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return 1000.0 + self._jumping.offset

    def stall(self, seconds: float) -> None:
        """The process stands still for so long."""
        self._jumping.offset += seconds


def run_virtual(body: Callable[[VirtualLoop], Coroutine[None, None, None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(body(loop))
    finally:
        loop.close()


def most_in_any(window: float, stamps: list[float]) -> int:
    """The most stamps that any window of so many seconds holds."""
    stamps = sorted(stamps)
    most = first = 0
    for last, stamp in enumerate(stamps):
        while stamps[first] <= stamp - window:
            first += 1
        most = max(most, last - first + 1)
    return most
