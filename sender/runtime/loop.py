"""Runs a coroutine on the quickest event loop there is: uvloop where it is installed (the extra `speed`)."""

from __future__ import annotations

import asyncio
import gc
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

ROUNDING: Final = 0.0005
"""Seconds added to a timer, since uvloop rounds to milliseconds and one that is early has to wait again."""

GARBAGE: Final = 50_000
"""New objects after which cycles are looked for: at thousands of jobs a second Python's 700 would be all the time."""


def run(main: Coroutine[object, object, T]) -> T:
    """Run to the end and return its result."""
    gc.freeze()  # what was imported stays, and need not be looked at again
    gc.set_threshold(GARBAGE)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None

    class ExactLoop(uvloop.Loop):
        """uvloop's clock stands still within a turn of the loop and counts milliseconds; pacing needs the real one."""

        time = staticmethod(monotonic)  # asked for a dozen times for each job

        def call_at(  # type: ignore[override]  # the very arguments of asyncio's loop
            self, when: float, callback: Any, *args: Any, context: Any = None
        ) -> asyncio.TimerHandle:
            return self.call_later(when - monotonic() + ROUNDING, callback, *args, context=context)

    return ExactLoop
