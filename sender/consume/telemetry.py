"""The Telemetry of a consumer: metrics, traces, and the conditions under which it is ready."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sender.errors import UsageError
from sender.jobs.kinds import LANES
from sender.runtime.health import HealthServer
from sender.runtime.metrics import NoMetrics
from sender.runtime.metrics.figures import Figures
from sender.runtime.tracing import open_tracer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.reader import Reader
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.runtime.health import Conditions
    from sender.runtime.metrics import Observer
    from sender.runtime.tracing import Tracer


class Telemetry(NamedTuple):
    """Who is told what happens, in a workspace or in all."""

    observer: Observer
    tracer: Tracer

    def of(self, workspace: str | None) -> Telemetry:
        """That of a workspace."""
        figures = self.observer
        return Telemetry(figures.of(workspace), self.tracer) if isinstance(figures, Figures) else self

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
        figures = self.observer
        if not isinstance(figures, Figures):
            return
        for name, one in consumers.items():
            for lane in LANES:
                figures.of(name).watch_lane(lane, one.session.workspace.lanes[lane])
            figures.of(name).watch_ledger(one.session.ledger)
        for reader in readers:
            figures.watch_queue(reader.queue.source, partial(getattr, reader, "lag"))
        figures.conditions = conditions.met
        figures.in_hand = lambda: sum(1 for one in consumers.values() for _ in one.in_flight)
        if states:
            figures.state = lambda: all(one.reachable for one in states)


def _halted(consumer: WorkspaceConsumer) -> str | None:
    return None if consumer.session.halted is None else "halted; see the log"


def _refused_kinds(consumer: WorkspaceConsumer) -> str | None:
    kinds = ", ".join(sorted(consumer.session.workspace.closed_kinds))
    return f"the API does not allow {kinds}" if kinds else None


async def open_telemetry(settings: Settings, conditions: Conditions, stack: AsyncExitStack) -> Telemetry:
    """Open the server for health and metrics, if one is asked for, and the tracer; to be closed with the stack."""
    observer: Observer = NoMetrics()
    if settings.health_port:
        observer = await _serve(settings, conditions, stack)
    tracer = open_tracer()
    stack.push_async_callback(tracer.aclose)
    return Telemetry(observer, tracer)


async def _serve(settings: Settings, conditions: Conditions, stack: AsyncExitStack) -> Figures:
    try:
        from sender.runtime.metrics.prometheus import Exposition
    except ModuleNotFoundError:
        raise UsageError("--health-port needs prometheus-client: pip install 'sender[metrics]'") from None

    figures = Figures()
    server = await HealthServer.open(
        conditions, settings.health_port, settings.health_host, metrics=Exposition(figures)
    )
    stack.push_async_callback(server.aclose)
    return figures
