"""The metrics of a replica: those of its workspaces and what it sees around it, rendered for a scrape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError

try:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder
except ImportError as error:
    raise UsageError("--health-port needs prometheus-client: pip install 'sender[metrics]'") from error

from sender.runtime.metrics.events import Events
from sender.runtime.metrics.gauges import Gauges
from sender.runtime.metrics.labels import name_label
from sender.runtime.metrics.watching import Watching
from sender.runtime.metrics.workspace_metrics import WorkspaceMetrics

if TYPE_CHECKING:
    from sender.runtime.metrics.watched import Queue
    from sender.runtime.metrics.watching import Lag

ASK_EVERY: Final = 2.0
"""Seconds for which a ledger's answer is good, however many scrape."""
MOST_QUEUES: Final = 32
MOST_WORKSPACES: Final = 100
DEFAULT: Final = "default"


class ReplicaMetrics(Watching):
    """A registry of its own; names begin with `sender_`, units are base units."""

    def __init__(self) -> None:
        super().__init__()
        self._events = Events()
        self._registry = CollectorRegistry()
        self._registry.register(self._events)
        self._registry.register(Gauges(self))
        ProcessCollector(namespace="sender", registry=self._registry)
        self.workspaces[DEFAULT] = WorkspaceMetrics(DEFAULT, self._events)
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    def of(self, workspace: str | None) -> WorkspaceMetrics:
        """The metrics of the workspace that the configuration calls so; None is the default one."""
        name = DEFAULT if workspace is None else name_label(workspace)
        if name not in self.workspaces:
            if len(self.workspaces) >= MOST_WORKSPACES:
                return self.workspaces[DEFAULT]
            self.workspaces[name] = WorkspaceMetrics(name, self._events)
        return self.workspaces[name]

    def watch_queue(self, name: str, lag: Lag, traffic: Queue | None = None) -> None:
        """Tell this queue's lag, and what comes again; `name` is the operator's for it, without a password."""
        if len(self.queues) < MOST_QUEUES:
            self.queues[name_label(name)] = lag
            if traffic is not None:
                self.traffic[name_label(name)] = traffic

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, text) in the format that the scraper accepts."""
        await self._refresh()
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    async def _refresh(self) -> None:
        """Ask the ledgers, all at once, if their last word is old."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() - self._asked_at >= ASK_EVERY:
                await asyncio.gather(*(one.refresh() for one in self.workspaces.values()))
                self._asked_at = loop.time()
