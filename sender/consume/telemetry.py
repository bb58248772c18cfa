"""The Telemetry of a consumer: metrics, traces, and the conditions under which it is ready."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sender.jobs.kinds import LANES
from sender.runtime.metrics import NoMetrics
from sender.runtime.tracing import open_tracer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.reader import Reader
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.runtime.conditions import Conditions
    from sender.runtime.metrics import Observer
    from sender.runtime.metrics.replica_metrics import ReplicaMetrics
    from sender.runtime.tracing import Tracer


class Telemetry(NamedTuple):
    """Who is told what happens."""

    metrics: ReplicaMetrics | None
    tracer: Tracer

    def observer_of(self, workspace: str | None) -> Observer:
        """Who counts what happens in a workspace."""
        return NoMetrics() if self.metrics is None else self.metrics.of(workspace)

    def watch(
        self, consumers: Mapping[str | None, WorkspaceConsumer], readers: Sequence[Reader], conditions: Conditions
    ) -> None:
        """Look at these whenever asked."""
        states = [one.memory.state for one in consumers.values() if one.memory.state is not None]
        if states:
            conditions.watch(
                "state", lambda: None if all(one.reachable for one in states) else "the shared state does not answer"
            )
        for name, one in consumers.items():
            conditions.watch(f"workspace {name or 'default'}", partial(_halted, one))
            conditions.watch(f"kinds of {name or 'default'}", partial(_refused_kinds, one))
            conditions.watch(f"dead letter of {name or 'default'}", partial(getattr, one.acknowledger, "trouble"))
        if self.metrics is None:
            return
        for name, one in consumers.items():
            for lane in LANES:
                self.metrics.of(name).watch_lane(lane, one.session.workspace.lanes[lane])
            self.metrics.of(name).watch_ledger(one.memory.ledger)
        for reader in readers:
            self.metrics.watch_queue(reader.queue.source, partial(getattr, reader, "lag"))
        self.metrics.conditions = conditions.met
        self.metrics.in_hand = lambda: (
            sum(1 for one in consumers.values() for _ in one.in_flight) + sum(len(one.beside) for one in readers)
        )
        if states:
            self.metrics.state = lambda: all(one.reachable for one in states)
        all_in_flight = [one.in_flight for one in consumers.values()]
        self.metrics.parked = lambda: (sum(one.parked for one in all_in_flight), sum(one.size for one in all_in_flight))


def _halted(consumer: WorkspaceConsumer) -> str | None:
    return None if consumer.session.halted is None else "halted; see the log"


def _refused_kinds(consumer: WorkspaceConsumer) -> str | None:
    kinds = ", ".join(sorted(consumer.session.workspace.closed_kinds))
    return f"the API does not allow {kinds}" if kinds else None


async def open_telemetry(settings: Settings, conditions: Conditions, stack: AsyncExitStack) -> Telemetry:
    """Open the server for health and metrics, if one is asked for, and the tracer; to be closed with the stack."""
    metrics = None
    if settings.health_port:
        from sender.runtime.health_server import HealthServer
        from sender.runtime.metrics.replica_metrics import ReplicaMetrics

        metrics = ReplicaMetrics()
        server = await HealthServer.open(conditions, settings.health_port, settings.health_host, metrics=metrics)
        stack.push_async_callback(server.aclose)
    tracer = open_tracer()
    stack.push_async_callback(tracer.aclose)
    return Telemetry(metrics, tracer)
