"""Where a consumer's outcome lines go: a file, stdout, or a queue, chosen by URL."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import OutputError, UsageError
from sender.outcomes.outcome_log import OutcomeLog
from sender.queues import QueueError
from sender.queues.queue_url import is_queue, open_publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from sender.outcomes.recorder import Log
    from sender.queues import OutcomeSink

STDOUT: Final = "-"
FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 10.0

log = structlog.get_logger()


async def open_sink(name: str, stack: AsyncExitStack) -> Log:
    """Open it, to be closed with the stack; UsageError when it cannot be written."""
    if name == STDOUT:
        return _Stdout()
    if is_queue(name):
        publisher = open_publisher(name)
        stack.push_async_callback(publisher.aclose)
        try:
            await publisher.open()
        except QueueError as error:
            raise UsageError(f"--outcomes cannot be used: {error}") from None
        return _Patient(publisher)
    outcome_log = OutcomeLog.open(Path(name))
    stack.callback(outcome_log.close)
    return outcome_log


class _Stdout:
    """Lines on stdout, whole ones only."""

    async def append(self, lines: Sequence[bytes]) -> None:
        await asyncio.to_thread(_write, b"".join(lines))


def _write(data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError as error:
        raise OutputError(f"outcomes cannot be written to stdout ({error.strerror})") from None


class _Patient:
    """A queue that is away is waited for: the lines stay in the ledger's outbox meanwhile."""

    def __init__(self, sink: OutcomeSink) -> None:
        self._sink = sink

    async def append(self, lines: Sequence[bytes]) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                await self._sink.append(lines)
            except QueueError as error:
                log.warning("outcomes cannot be written now", error=str(error))
                await asyncio.sleep(wait)
                wait = min(MOST_WAIT, wait * 2)
            else:
                return
