"""From the plan of a consumer to its parts; none of them is connected to anything yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sender.config.live import LiveSettings
from sender.consume.consume_view import ConsumeControls, ConsumeView, ledger_of
from sender.consume.consumer import Consumer
from sender.consume.letter_desk import LetterDesk
from sender.consume.message_parser import MessageParser
from sender.consume.reader import Reader
from sender.consume.requeue_counts import StoredRequeueCounts
from sender.consume.stored_origins import StoredOrigins
from sender.consume.watching import watch
from sender.consume.workspace_opening import WorkspaceOpening
from sender.consume.workspace_task import WorkspaceTask
from sender.queues.queue_url import open_queue
from sender.session.pauses import SETTINGS
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.consume_plan import ConsumePlan
    from sender.consume.outputs import Outputs
    from sender.consume.telemetry import Telemetry
    from sender.runtime.conditions import Conditions
    from sender.runtime.supervisor import Supervisor

RETURN_AFTER: Final = 25.0
"""Seconds after which a dead replica's messages are another's: within 30 s.

See docs/queues-and-state.md, "What happens to a message".
"""

MOST_IN_HAND: Final = 100_000
"""Messages of a queue, parked ones among them; SQS gives out 120,000 before some have ended."""


def make_consumer(
    plan: ConsumePlan, outputs: Outputs, telemetry: Telemetry, conditions: Conditions, supervisor: Supervisor,
    stack: AsyncExitStack,
) -> Consumer:
    """Whatever it opens later ends with the stack; UsageError when something of the plan cannot be used."""
    tasks: dict[str | None, WorkspaceTask] = {}
    live = LiveSettings(plan.settings, plan.read_settings, partial(_apply, tasks), plan.config or None)
    for config in plan.workspaces:
        opening = WorkspaceOpening(config, plan.state, plan.urls, lambda: live.settings, outputs, telemetry)
        tasks[config.name] = WorkspaceTask(config, opening, outputs.dead_letters, supervisor, outputs.retries)
    readers = [_make_reader(url, plan.settings, tasks, conditions, stack) for url in plan.urls]
    watch(telemetry.metrics, conditions, tasks, readers, outputs.dead_letters, outputs.retries)
    consumer = Consumer(tasks, readers, conditions, live, supervisor)
    if (view := telemetry.view) is not None:
        desk = None
        if plan.dead_letter:
            queues = {reader.queue.source: url for reader, url in zip(readers, plan.urls, strict=True)}
            desk = LetterDesk(plan, queues, partial(ledger_of, tasks))
        source = ConsumeView(consumer, tasks, readers, conditions, outputs.dead_letters, view.outcomes)
        view.show(source, ConsumeControls(consumer, live, desk))
    return consumer


def _apply(tasks: Mapping[str | None, WorkspaceTask], settings: Settings, changed: frozenset[str]) -> None:
    """Settings that changed in the file: rates, and whether to pause."""
    for one in tasks.values():
        one.set_rates(settings)
        if "paused" in changed:
            one.pause.ask(settings.paused, by=SETTINGS)


def _make_reader(
    url: str, settings: Settings, tasks: Mapping[str | None, WorkspaceTask], conditions: Conditions,
    stack: AsyncExitStack,
) -> Reader:
    """What is to be known of a queue is kept by the first workspace's memory; SQS keeps no count of requeues."""
    notes = next(iter(tasks.values())).notes
    counts = StoredRequeueCounts(notes) if url.startswith("sqs:") else None
    queue = open_queue(
        url, in_hand=MOST_IN_HAND, return_after=RETURN_AFTER, requeue_counts=counts, origins=StoredOrigins(notes)
    )
    stack.push_async_callback(queue.aclose)
    for task in tasks.values():
        task.acknowledger.queues.append(queue)
    options = Options(settings.require_identifiers, frozenset(settings.risky_extensions))
    parser = Parser(settings.kind, options, frozenset(name for name in tasks if name is not None))
    return Reader(queue, tasks, MessageParser(parser, settings), settings.prefetch, conditions, settings.memory)
