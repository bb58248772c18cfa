"""Small things that asyncio leaves to its users: end tasks for good, and give up waiting at an event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from sender.errors import HaltError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

T = TypeVar("T")


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until they have ended: `asyncio.wait_for`, which the client uses, may swallow one (before Python 3.12)."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


def start_told(
    work: Coroutine[Any, Any, None], name: str, tell: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """Start work whose failure somebody else is told of."""
    task = asyncio.get_running_loop().create_task(work, name=name)

    def ended(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            tell(error)

    task.add_done_callback(ended)
    return task


def close_with(task: asyncio.Task[Any], work: Coroutine[Any, Any, None]) -> None:
    """Close the work that a task awaits, when it has ended: one that is cancelled at once has not begun with it."""
    task.add_done_callback(lambda _: work.close())


async def forever(work: Coroutine[Any, Any, None], name: str) -> None:
    """Work that only its cancellation ends; HaltError when it ends by itself."""
    await work
    raise HaltError(f"a part of sender ended before its time ({name}); please report it")


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work returns; None when the event is set before, and then the work is cancelled."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await end({task, waiting})
