"""The Outputs of a consumer: where outcome lines, retries and dead letters go, a file, stdout, or a queue."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from sender.consume.dead_letters import DeadLetters
from sender.consume.retry_queue import RetryQueue
from sender.consume.stdout_lines import StdoutLines
from sender.outcomes.outcome_log import OutcomeLog
from sender.queues import QueueError
from sender.queues.address import parse
from sender.queues.message_identity import are_one
from sender.queues.queue_url import is_queue, open_publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from sender.consume.consume_plan import ConsumePlan
    from sender.outcomes.recorder import Log
    from sender.queues import OutcomeSink
    from sender.queues.address import Address
    from sender.queues.publisher import Publisher
    from sender.runtime.conditions import Conditions

STDOUT: Final = "-"
FIRST_WAIT: Final = 0.2
MOST_WAIT: Final = 10.0

log = structlog.get_logger()


class Outputs(NamedTuple):
    """All that a consumer writes, but for its log."""

    sink: Log
    dead_letters: DeadLetters | None
    retries: RetryQueue | None = None


async def open_outputs(plan: ConsumePlan, conditions: Conditions, stack: AsyncExitStack) -> Outputs:
    """Open them, to be closed with the stack; a queue that is away is waited for. UsageError: a wrong URL or path."""
    named = (("--dead-letter", plan.dead_letter), ("--retry-to", plan.retry_to), ("--outcomes", plan.outcomes))
    publishers = {option: open_publisher(url) for option, url in named if is_queue(url)}
    sink = None if "--outcomes" in publishers else _open_sink(plan.outcomes, stack)
    if not plan.dead_letter:
        log.warning("no --dead-letter: jobs that are refused, given up or in doubt are in the outcomes alone")
    if retry_to := publishers.get("--retry-to"):
        _warn_of_haste(retry_to.address, plan.urls)
    for option, publisher in publishers.items():
        stack.push_async_callback(publisher.aclose)
        await _wait_for(publisher, option, conditions)
    letters, retries = publishers.get("--dead-letter"), publishers.get("--retry-to")
    return Outputs(
        sink or _PatientSink(publishers["--outcomes"]), None if letters is None else DeadLetters(letters),
        None if retries is None else RetryQueue(retries, plan.settings.retries),
    )


def _warn_of_haste(target: Address, urls: Sequence[str]) -> None:
    """Where what failed is read again here, from a broker that cannot delay it (an SQS queue itself may)."""
    if target.broker not in ("kafka", "sqs") and any(are_one(target, parse(url)) for url in urls):
        log.warning("--retry-to is a source, and its broker delays nothing: a job that fails is tried again as soon as "
                    "it is read", queue=target.shown)


def _open_sink(name: str, stack: AsyncExitStack) -> Log:
    if name == STDOUT:
        return StdoutLines()
    outcome_log = OutcomeLog.open(Path(name))
    stack.callback(outcome_log.close)
    return outcome_log


async def _wait_for(publisher: Publisher[Any], option: str, conditions: Conditions) -> None:
    """Until it is there."""
    wait = FIRST_WAIT
    while True:
        try:
            await publisher.open()
        except QueueError as error:
            conditions.miss(option, f"it cannot be used: {error}")
            await asyncio.sleep(wait)
            wait = min(MOST_WAIT, wait * 2)
        else:
            conditions.drop(option)
            return


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
