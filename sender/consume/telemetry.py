"""The Telemetry of a consumer: metrics and traces, and the server for health."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sender.jobs.kinds import LANES
from sender.runtime.live.open_live import open_live
from sender.runtime.metrics import NoMetrics
from sender.runtime.tracing import open_tracer

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.runtime.conditions import Conditions
    from sender.runtime.live.live_view import LiveView
    from sender.runtime.metrics import Observer
    from sender.runtime.metrics.replica_metrics import ReplicaMetrics
    from sender.runtime.tracing import Tracer


class Telemetry(NamedTuple):
    """Who is told what happens."""

    metrics: ReplicaMetrics | None
    tracer: Tracer
    view: LiveView | None = None

    def observer_of(self, workspace: str | None) -> Observer:
        """Who counts what happens in a workspace."""
        counts = NoMetrics() if self.metrics is None else self.metrics.of(workspace)
        return counts if self.view is None else self.view.observer(workspace, counts)

    def opened(self, workspace: str | None, consumer: WorkspaceConsumer) -> None:
        """Look at these lanes and this ledger from now on."""
        if self.metrics is not None:
            for lane in LANES:
                self.metrics.of(workspace).watch_lane(lane, consumer.session.workspace.lanes[lane])
            self.metrics.of(workspace).watch_ledger(consumer.memory.ledger)

    def closed(self, workspace: str | None) -> None:
        """The ledger is closed."""
        if self.metrics is not None:
            self.metrics.of(workspace).watch_ledger(None)


async def open_telemetry(settings: Settings, conditions: Conditions, stack: AsyncExitStack) -> Telemetry:
    """Open live view, the server for health and metrics, if they are asked for, and the tracer; to be closed with the
    stack."""
    view = await stack.enter_async_context(open_live("consume", settings))
    metrics = None
    if settings.health_port:
        from sender.runtime.health_server import HealthServer
        from sender.runtime.metrics.replica_metrics import ReplicaMetrics

        metrics = ReplicaMetrics()
        metrics.conditions = conditions.met
        server = await HealthServer.open(conditions, settings.health_port, settings.health_host, metrics=metrics)
        stack.push_async_callback(server.aclose)
    tracer = open_tracer()
    stack.push_async_callback(tracer.aclose)
    return Telemetry(metrics, tracer, view)
