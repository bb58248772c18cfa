"""The Outputs of a consumer: where its outcome lines and its dead letters go, a file, stdout, or a queue."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from sender.consume.dead_letters import DeadLetters
from sender.errors import OutputError, UsageError
from sender.outcomes.outcome_log import OutcomeLog
from sender.queues import QueueError
from sender.queues.queue_url import is_queue, open_publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from sender.consume.consume_plan import ConsumePlan
    from sender.outcomes.recorder import Log
    from sender.queues import OutcomeSink
    from sender.queues.publisher import Publisher

STDOUT: Final = "-"
FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 10.0

log = structlog.get_logger()


class Outputs(NamedTuple):
    """All that a consumer writes, but for its log."""

    sink: Log
    dead_letters: DeadLetters | None


async def open_outputs(plan: ConsumePlan, stack: AsyncExitStack) -> Outputs:
    """Open them, to be closed with the stack; UsageError when one cannot be written."""
    dead_letters = None
    if plan.dead_letter:
        dead_letters = DeadLetters(await _open_publisher(plan.dead_letter, "--dead-letter", stack))
    else:
        log.warning("no --dead-letter: jobs that are refused, given up or in doubt are in the outcomes alone")
    return Outputs(await _open_sink(plan.outcomes, stack), dead_letters)


async def _open_sink(name: str, stack: AsyncExitStack) -> Log:
    if name == STDOUT:
        return _Stdout()
    if is_queue(name):
        return _PatientSink(await _open_publisher(name, "--outcomes", stack))
    outcome_log = OutcomeLog.open(Path(name))
    stack.callback(outcome_log.close)
    return outcome_log


async def _open_publisher(url: str, option: str, stack: AsyncExitStack) -> Publisher[Any]:
    publisher = open_publisher(url)
    stack.push_async_callback(publisher.aclose)
    try:
        await publisher.open()
    except QueueError as error:
        raise UsageError(f"{option} cannot be used: {error}") from None
    return publisher


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


class _PatientSink:
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
