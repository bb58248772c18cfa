"""Messages on their way back to their queues, so that another replica may have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from sender.consume.unacked import by_queue
from sender.queues import QueueError
from sender.runtime.tasks import end

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from sender.consume.unacked import UnackedMessage

log = structlog.get_logger()


async def give_back(holdings: Iterable[UnackedMessage]) -> None:
    """Let other readers have these; what a broker refuses to take returns by itself, and is logged."""
    for queue, messages in by_queue(holdings).items():
        try:
            await queue.requeue(messages)
        except QueueError as error:
            log.warning(
                "messages could not be given back; they return by themselves", messages=len(messages), error=str(error)
            )


async def end_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel these until they have ended, whatever they end with: a client library may swallow a cancellation."""
    tasks = tuple(tasks)
    await end(tasks)
    await asyncio.gather(*tasks, return_exceptions=True)


class BackgroundTasks:
    """Work on the side that nobody waits for: kept until it is done, and logged when it breaks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Have it done."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def finish(self) -> None:
        """Return when all is done."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Let go of what is not done."""
        await end_all(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an errand broke", what=task.get_name(), error=f"{type(error).__name__}: {error}")
