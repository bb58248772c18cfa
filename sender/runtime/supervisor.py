"""The Supervisor of a session: its background tasks, none of which can end without being noticed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from sender.errors import FaultError, HaltError, SenderError
from sender.runtime.tasks import close_with, end, forever

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Supervisor:
    """A context: tasks that are started in it end with it, and the first that fails before is told.

    A task that raises, or ends though it should work until it is cancelled, is a failure.
    """

    def __init__(self) -> None:
        self.failure: HaltError | None = None
        """Why the first of them ended before its time."""
        self._tell: Callable[[HaltError], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._tasks)

    def on_failure(self, tell: Callable[[HaltError], None]) -> None:
        """Have every failure told, from the first one on."""
        self._tell = tell
        if self.failure is not None:
            tell(self.failure)

    def start(self, work: Coroutine[None, None, None], name: str, *, ends: bool = False) -> asyncio.Task[None]:
        """Start a task; `ends` says that it may end by itself."""
        task = asyncio.get_running_loop().create_task(work if ends else forever(work, name), name=name)
        close_with(task, work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def fail(self, error: BaseException) -> None:
        """A part of the session cannot go on."""
        told = halt_of(error)
        if self.failure is None:
            self.failure = told
        if self._tell is not None:
            self._tell(told)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error)


def halt_of(error: BaseException) -> HaltError:
    """The sentence for the user: the first that was meant for him, also out of a task group, or a fault of our own."""
    if isinstance(error, HaltError):
        return error
    if isinstance(error, BaseExceptionGroup):
        told = [halt_of(one) for one in error.exceptions]
        return next((one for one in told if not isinstance(one, FaultError)), told[0])
    return HaltError(str(error)) if isinstance(error, SenderError) else FaultError(error)
