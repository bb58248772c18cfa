"""Probes and metrics of `sender follow`, where a port is given for them (docs/operations.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.follow.fate import FATES
from sender.runtime.conditions import Conditions

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from sender.config.settings import Settings
    from sender.follow.following import Following


async def open_health(settings: Settings, following: Following, stack: AsyncExitStack) -> None:
    """Answer probes and scrapes until the stack is closed."""
    if not settings.health_port:
        return
    from sender.runtime.health_server import HealthServer
    from sender.runtime.metrics.replica_metrics import ReplicaMetrics

    conditions = Conditions()
    metrics = ReplicaMetrics()
    metrics.conditions = conditions.met
    metrics.deliveries = lambda: {fate: following.books.number(fate) for fate in FATES}
    server = await HealthServer.open(conditions, settings.health_port, settings.health_host, metrics=metrics)
    stack.push_async_callback(server.aclose)
