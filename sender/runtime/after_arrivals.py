"""What has arrived is read before a deadline strikes.

A process that was stopped, or whose machine slept, wakes to timers that are all due at once, while the answers that
came in time still lie unread in its sockets. So nothing is given up in the very turn of the loop in which its time is
over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

TURNS: Final = 32
"""Turns of the loop that read what lies in the sockets, and let the tasks have it; each polls every socket once."""
STOOD_STILL: Final = 1.0
"""Seconds by which a timer is late when the process must have stood still."""


def after_arrivals(loop: asyncio.AbstractEventLoop, then: Callable[[], None], turns: int = TURNS) -> None:
    """Call `then` when all that had arrived by now is read."""
    if turns:
        loop.call_soon(after_arrivals, loop, then, turns - 1)
    else:
        then()
