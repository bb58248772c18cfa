"""Events counts what happens, in prometheus-client's own counters and histograms (the extra `metrics`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Histogram
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

LATENCY: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0)
"""Bounds in seconds, up to the default timeout of an attempt."""
WAIT: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0)
COMMIT: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Events(Collector):
    """Counters and histograms of all workspaces; the first label of each is the workspace."""

    def __init__(self) -> None:
        self.requests = Counter(
            "sender_requests", "Requests to the API by HTTP status, or by the fault that left them without one.",
            ("workspace", "lane", "kind", "status"), registry=None,
        )
        self.outcomes = Counter(
            "sender_outcomes", "Jobs that ended so; one whose fate changes later counts once more.",
            ("workspace", "status"), registry=None,
        )
        self.unidentified = Counter(
            "sender_messages_without_id", "Messages without an id, of a job without one; known by their content.",
            ("workspace",), registry=None,
        )
        self.latency = Histogram(
            "sender_request_duration_seconds", "Time of a request, from its writing to its whole answer.",
            ("workspace", "lane"), registry=None, buckets=LATENCY,
        )
        self.turns = Histogram(
            "sender_pacer_wait_seconds", "Time that a job which was ready waited for its turn.",
            ("workspace", "lane"), registry=None, buckets=WAIT,
        )
        self.commits = Histogram(
            "sender_ledger_commit_seconds", "Time of a durable write to the ledger.",
            ("workspace", "operation"), registry=None, buckets=COMMIT,
        )

    def collect(self) -> Iterable[Metric]:
        """All families, without the time at which each of their series began."""
        for metric in (self.requests, self.outcomes, self.unidentified, self.latency, self.turns, self.commits):
            for family in metric.collect():
                family.samples = [one for one in family.samples if not one.name.endswith("_created")]
                yield family
