"""One run of `sender consume`, from its plan to its exit status; after a lost state a new consumer takes over."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import structlog
from anyio import move_on_after

from sender.consume.consumer_opening import RejoinState, open_consumer
from sender.consume.consumer_signals import ConsumerSignals
from sender.errors import StateLost, UsageError

if TYPE_CHECKING:
    from sender.consume.consume_plan import ConsumePlan

AGAIN_AFTER: Final = 1.0
"""Seconds before a lost state is joined anew."""

log = structlog.get_logger()


async def consume(plan: ConsumePlan) -> int:
    """Consume until a signal: 0 after a clean drain, 3 when nothing can run any more."""
    rejoin = RejoinState()
    with ConsumerSignals() as signals:
        while True:
            status = await _consume_once(plan, signals, rejoin)
            if status is not None:
                return status
            log.warning("the shared state is joined anew")
            with move_on_after(AGAIN_AFTER):
                await signals.draining.wait()


async def _consume_once(plan: ConsumePlan, signals: ConsumerSignals, rejoin: RejoinState) -> int | None:
    """One consumer from its opening to its end; None when another has to take its place."""
    first = not rejoin.births
    try:
        async with AsyncExitStack() as stack:
            stack.callback(signals.give_to, None)
            consumer = await open_consumer(plan, rejoin, stack)
            await consumer.run(signals)
            if not consumer.state_lost or signals.draining.is_set():
                return consumer.status
            rejoin.unrecorded |= consumer.unrecorded
    except UsageError as error:
        if first:
            raise
        log.warning("the consumer cannot be opened anew yet", error=str(error))
    except StateLost as error:
        log.warning("the shared state was lost while the consumer was opened", error=str(error))
    return 0 if signals.draining.is_set() else None
