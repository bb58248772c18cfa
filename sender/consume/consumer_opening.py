"""From the plan of a consumer to its parts, each opened and to be closed with the stack."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sender.consume.consumer import WORKING, Consumer
from sender.consume.memory import open_memory
from sender.consume.message_parser import MessageParser
from sender.consume.outputs import open_outputs
from sender.consume.reader import Reader
from sender.consume.requeue_counts import StoredRequeueCounts
from sender.consume.telemetry import open_telemetry
from sender.consume.workspace_consumer import WorkspaceConsumer
from sender.engine.workspace import Workspace
from sender.queues.queue_url import open_queue
from sender.runtime.conditions import Conditions
from sender.runtime.supervisor import Supervisor
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.consume_plan import ConsumePlan, WorkspaceConfig
    from sender.consume.memory import Memory
    from sender.consume.outputs import Outputs
    from sender.consume.telemetry import Telemetry
    from sender.outcomes.recorder import FinishedJob

RETURN_AFTER: Final = 25.0
"""Seconds after which a dead replica's messages are another's: within 30 s.

See docs/queues-and-state.md, "What happens to a message".
"""

MOST_IN_HAND: Final = 100_000
"""Messages of a queue, parked ones among them; SQS gives out 120,000 before some have ended."""


@dataclass(slots=True)
class RejoinState:
    """What a consumer leaves to the one that takes its place after the state was lost, by workspace."""

    births: dict[str | None, float] = field(default_factory=dict)
    """When the state began, as this process saw it last."""
    unrecorded: dict[str | None, list[FinishedJob]] = field(default_factory=dict)


async def open_consumer(plan: ConsumePlan, rejoin: RejoinState, stack: AsyncExitStack) -> Consumer:
    """UsageError when something of the plan cannot be used, StateLost when the state is lost meanwhile."""
    conditions = Conditions(WORKING)
    telemetry = await open_telemetry(plan.settings, conditions, stack)
    outputs = await open_outputs(plan, stack)
    consumers: dict[str | None, WorkspaceConsumer] = {}
    for config in plan.workspaces:
        consumers[config.name] = await _open_workspace(plan, config, rejoin, outputs, telemetry, stack)
    readers = [_open_reader(url, plan.settings, consumers, conditions, stack) for url in plan.urls]
    telemetry.watch(consumers, readers, conditions)
    return Consumer(plan, consumers, readers, conditions)


async def _open_workspace(
    plan: ConsumePlan, config: WorkspaceConfig, rejoin: RejoinState, outputs: Outputs, telemetry: Telemetry,
    stack: AsyncExitStack,
) -> WorkspaceConsumer:
    supervisor = Supervisor()
    memory = await open_memory(config, plan.state, plan.settings, supervisor, stack)
    workspace = Workspace(
        config.base_url, config.key, plan.settings, time.time, pacers=memory.state,
        observer=telemetry.observer_of(config.name),
    )
    stack.push_async_callback(workspace.transport.aclose)
    if memory.state is not None:
        await _compare_births(memory, memory.state.ledger.born, config.name, rejoin)
    await stack.enter_async_context(supervisor)
    consumer = WorkspaceConsumer(config.name, workspace, memory, plan.settings, outputs, telemetry.tracer, supervisor)
    await consumer.open(config.base_url)
    for ended in rejoin.unrecorded.pop(config.name, []):
        consumer.session.record(ended)  # its message comes again, and is known then
    return consumer


async def _compare_births(memory: Memory, born: float, name: str | None, rejoin: RejoinState) -> None:
    """A state that was born since this process saw it last has lost all; else others may have seen a loss."""
    before = rejoin.births.get(name)
    rejoin.births[name] = born
    if before is not None and before != born:
        await memory.note_loss()
    else:
        await memory.find_loss()


def _open_reader(
    url: str, settings: Settings, consumers: Mapping[str | None, WorkspaceConsumer], conditions: Conditions,
    stack: AsyncExitStack,
) -> Reader:
    """SQS keeps no count of what was requeued: the first workspace's memory does."""
    counts = StoredRequeueCounts(next(iter(consumers.values())).memory.ledger) if url.startswith("sqs:") else None
    queue = open_queue(url, in_hand=MOST_IN_HAND, return_after=RETURN_AFTER, requeue_counts=counts)
    stack.push_async_callback(queue.aclose)
    options = Options(settings.require_identifiers, frozenset(settings.risky_extensions))
    parser = Parser(settings.kind, options, frozenset(name for name in consumers if name is not None))
    return Reader(queue, consumers, MessageParser(parser, settings), settings.prefetch, conditions, settings.memory)
