"""One run of `sender consume`, from its plan to its exit status.

What lives as long as the process comes first: health, signals, metrics, outputs. The consumer has each workspace
opened, and opened anew whatever ends it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sender.consume.consumer import WORKING
from sender.consume.consumer_opening import make_consumer
from sender.consume.consumer_signals import ConsumerSignals
from sender.consume.outputs import open_outputs
from sender.consume.telemetry import open_telemetry
from sender.runtime.conditions import Conditions, tell_changes
from sender.runtime.supervisor import Supervisor
from sender.runtime.tasks import unless

if TYPE_CHECKING:
    from sender.consume.consume_plan import ConsumePlan


async def consume(plan: ConsumePlan) -> int:
    """Consume until a signal: 0 after a clean drain, else 3; UsageError for what no waiting mends."""
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(ConsumerSignals())
        conditions = Conditions(WORKING)
        telemetry = await open_telemetry(plan.settings, conditions, stack)
        supervisor = await stack.enter_async_context(Supervisor())
        supervisor.start(tell_changes(conditions), "conditions")
        _await_outputs(plan, conditions)
        outputs = await unless(signals.draining, open_outputs(plan, conditions, stack))
        if outputs is None:
            return 0
        status = await make_consumer(plan, outputs, telemetry, conditions, supervisor, stack).run(signals)
        if telemetry.view is not None:
            telemetry.view.end("drained" if status == 0 else "stopped before all was recorded; the log says why")
        return status


def _await_outputs(plan: ConsumePlan, conditions: Conditions) -> None:
    """Name what is looked at only once the outputs are open; the workspaces tell of themselves then."""
    for one in plan.workspaces:
        conditions.miss(f"workspace {one.name or 'default'}", "not opened before the outputs can be written")
    if any(one.ledger is None for one in plan.workspaces):
        conditions.miss("state", "not looked at before the outputs can be written")
