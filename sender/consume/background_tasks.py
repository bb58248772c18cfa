"""BackgroundTasks: work beside the main work, in a task group; what ends unexpectedly is told, and halts its owner."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

import structlog
from anyio import current_effective_deadline

from sender.errors import FaultError, HaltError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

log = structlog.get_logger()


class BackgroundTasks:
    """Starts tasks in a group; `halt` is called with the reason as soon as one ends that should not have."""

    def __init__(self, group: TaskGroup, halt: Callable[[HaltError], None]) -> None:
        self.group = group
        self._halt = halt

    def keep(self, work: Callable[[], Awaitable[object]], name: str) -> None:
        """Work that has to last until the group is cancelled."""
        self.group.start_soon(self._run, work, name, True, name=name)

    def start(self, work: Callable[[], Awaitable[object]], name: str) -> None:
        """Work that may come to its end."""
        self.group.start_soon(self._run, work, name, False, name=name)

    async def _run(self, work: Callable[[], Awaitable[object]], name: str, lasts: bool) -> None:
        try:
            await work()
            if not lasts:
                return
            error: BaseException = RuntimeError(f"{name} has ended")
        except asyncio.CancelledError as cancelled:
            if current_effective_deadline() == -inf:
                raise
            error = cancelled  # nobody asked for it: a client library may let one out
        except Exception as fault:  # noqa: BLE001 - a part that is missing must not go unnoticed
            error = fault
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, HaltError):
            log.error("a task has ended unexpectedly", task=name, error=type(error).__name__)
            error = FaultError(error)
        self._halt(error)
