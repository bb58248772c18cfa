"""The Telemetry of a consumer: metrics, traces, and the conditions under which it is ready."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sender.jobs.kinds import LANES
from sender.runtime.metrics import NoMetrics
from sender.runtime.tracing import open_tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.consume.dead_letters import DeadLetters
    from sender.consume.reader import Reader
    from sender.consume.workspace_consumer import WorkspaceConsumer
    from sender.consume.workspace_task import WorkspaceTask
    from sender.runtime.conditions import Conditions
    from sender.runtime.metrics import Observer
    from sender.runtime.metrics.replica_metrics import ReplicaMetrics
    from sender.runtime.metrics.workspace_metrics import Flag
    from sender.runtime.tracing import Tracer


class Telemetry(NamedTuple):
    """Who is told what happens."""

    metrics: ReplicaMetrics | None
    tracer: Tracer

    def observer_of(self, workspace: str | None) -> Observer:
        """Who counts what happens in a workspace."""
        return NoMetrics() if self.metrics is None else self.metrics.of(workspace)

    def watch(
        self, tasks: Mapping[str | None, WorkspaceTask], readers: Sequence[Reader], conditions: Conditions,
        dead_letters: DeadLetters | None,
    ) -> None:
        """Look at these whenever asked."""
        workspaces = tuple(tasks.values())
        if any(one.shares for one in workspaces):
            conditions.watch("state", lambda: next(filter(None, map(_state_away, workspaces)), None))
        for one in workspaces:
            conditions.watch(f"workspace {one.name}", partial(getattr, one, "reason"))
            conditions.watch(f"pause of {one.name}", partial(_paused, one))
            conditions.watch(f"kinds of {one.name}", partial(_refused_kinds, one))
            conditions.watch(f"dead letter of {one.name}", partial(getattr, one.acknowledger, "trouble"))
        if self.metrics is None:
            return
        for name, task in tasks.items():
            self.metrics.of(name).watch_flags(_flags_of(task))
        for reader in readers:
            self.metrics.watch_queue(reader.queue.source, partial(getattr, reader, "lag"), reader.queue)
        self.metrics.dead_letters = dead_letters
        in_flight = [one.in_flight for one in workspaces]
        self.metrics.in_hand = lambda: (
            sum(1 for one in in_flight for _ in one) + sum(len(one.beside) for one in readers)
        )
        self.metrics.oldest = partial(_oldest, workspaces, readers)
        self.metrics.parked = lambda: (sum(one.parked for one in in_flight), sum(one.size for one in in_flight))
        if any(one.shares for one in workspaces):
            self.metrics.state = lambda: not any(map(_state_away, workspaces))

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


def _flags_of(one: WorkspaceTask) -> dict[Flag, Callable[[], bool]]:
    flags: dict[Flag, Callable[[], bool]] = {"paused": lambda: one.pause.paused, "halted": lambda: one.halted}
    return {**flags, "state_away": lambda: _state_away(one) is not None} if one.shares else flags


def _oldest(workspaces: Collection[WorkspaceTask], readers: Collection[Reader]) -> float | None:
    """Seconds since the oldest message in hand was read."""
    begun = [message.since for one in workspaces for message in one.in_flight]
    begun += [message.since for one in readers for message in one.beside]
    return asyncio.get_running_loop().time() - min(begun) if begun else None


def _state_away(one: WorkspaceTask) -> str | None:
    state = None if one.current is None else one.current.memory.state
    if state is not None and not state.reachable:
        return "the shared state does not answer"
    return one.state_away


def _paused(one: WorkspaceTask) -> str | None:
    return "paused by an operator or the settings; SIGUSR2 goes on" if one.pause.paused else None


def _refused_kinds(one: WorkspaceTask) -> str | None:
    kinds = "" if one.current is None else ", ".join(sorted(one.current.session.workspace.closed_kinds))
    return f"the API does not allow {kinds}; one job is tried every minute" if kinds else None


async def open_telemetry(settings: Settings, conditions: Conditions, stack: AsyncExitStack) -> Telemetry:
    """Open the server for health and metrics, if one is asked for, and the tracer; to be closed with the stack."""
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
    return Telemetry(metrics, tracer)
