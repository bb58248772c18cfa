"""The Figures in Prometheus' own words (extra `metrics`): one registry of our own, read anew at each scrape.

Names begin with `sender_`, units are base units, and what several replicas see alike (jobs in doubt, queue lag, the
limit) is to be taken as `max` over them, what each does for itself as `sum`.
"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING, Final, TypeVar

from sender import __version__
from sender.errors import UsageError

try:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as error:
    raise UsageError("--health-port needs prometheus-client: pip install 'sender[metrics]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

    from sender.metrics.figures import Figures
    from sender.metrics.histogram import Histogram

Labels = TypeVar("Labels", bound="tuple[str, ...]")

BREAKER_STATES: Final = ("closed", "open", "trying")
DOUBTFUL: Final = ("in_doubt", "handed_over")


class Exposition:
    """The answer to a scrape."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._registry = CollectorRegistry()
        self._registry.register(FigureCollector(figures))
        ProcessCollector(namespace="sender", registry=self._registry)

    async def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, text) in the format that the scraper accepts."""
        await self._figures.refresh()
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


class FigureCollector(Collector):
    """Makes families of samples from figures."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not look at parts that are not yet there."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, those without a sample too."""
        yield _gauge("build_info", "Always 1; which version runs.", ("version", "python"),
                     {(__version__, platform.python_version()): 1})  # fmt: skip
        yield from self._jobs()
        yield from self._times()
        yield from self._lanes()
        yield from self._pace()
        yield from self._surroundings()

    def _jobs(self) -> Iterable[Metric]:
        figures = self._figures
        yield _counter("requests", "Requests to the API by HTTP status, or by the fault that left them without one.",
                       ("lane", "kind", "status"), figures.requests)  # fmt: skip
        yield _counter("outcomes", "Jobs that ended so; one whose fate changes later counts once more.",
                       ("status",), {(status,): count for status, count in figures.outcomes.items()})  # fmt: skip
        counts = figures.counts
        yield _gauge("ledger_jobs", "Jobs that the ledger holds as in doubt or handed over; shared by all replicas.",
                     ("state",), {} if counts is None else {(s,): counts.get(s, 0) for s in DOUBTFUL})  # fmt: skip

    def _times(self) -> Iterable[Metric]:
        figures = self._figures
        yield _histogram("request_duration_seconds", "Time of a request, from its writing to its whole answer.",
                         "lane", figures.latency)  # fmt: skip
        yield _histogram("pacer_wait_seconds", "Time that a job which was ready waited for its turn.",
                         "lane", figures.turns)  # fmt: skip
        yield _histogram("ledger_commit_seconds", "Time of a durable write to the ledger.",
                         "operation", figures.commits)  # fmt: skip

    def _lanes(self) -> Iterable[Metric]:
        lanes = self._figures.lanes.items()
        yield _gauge("requests_in_hand", "Requests under way.", ("lane",), {(n,): x.in_hand for n, x in lanes})
        yield _gauge("jobs_waiting", "Jobs taken on and not under way.", ("lane",), {(n,): x.waiting for n, x in lanes})
        yield _counter("http_429", "Requests that the API answered with 429.", ("lane",),
                       {(n,): x.http_429 for n, x in lanes})  # fmt: skip
        yield _gauge("breaker_state", "1 for the state in which the breaker is.", ("lane", "state"),
                     {(n, s): int(x.breaker.state == s) for n, x in lanes for s in BREAKER_STATES})  # fmt: skip
        yield _counter("breaker_openings", "How often the breaker opened.", ("lane",),
                       {(n,): x.breaker.opened for n, x in lanes})  # fmt: skip

    def _pace(self) -> Iterable[Metric]:
        figures, now = self._figures, _now()
        pacers = [(name, lane.pacer) for name, lane in figures.lanes.items()]
        yield _counter("requests_written", "Requests written to the API.", ("lane",),
                       {(n,): p.requests for n, p in pacers})  # fmt: skip
        yield _gauge("achieved_rate", "Requests a second that this replica wrote over about the last 10 s.", ("lane",),
                     {(n,): figures.rates[n].look(now, p.requests) for n, p in pacers})  # fmt: skip
        yield _gauge("window_requests_max", "Most requests that this replica ever wrote in any sliding window.",
                     ("lane",), {(n,): p.most_in_window for n, p in pacers})  # fmt: skip
        yield _gauge("rate_limit", "Requests a second that all replicas may write together.", ("lane",),
                     {(n,): p.rate for n, p in pacers})  # fmt: skip
        yield _gauge("pause_seconds", "Time until which a lane is told to wait; 0 when it is not.", ("lane",),
                     {(n,): max(0.0, p.paused_until - now) for n, p in pacers})  # fmt: skip

    def _surroundings(self) -> Iterable[Metric]:
        figures = self._figures
        lags = {(name,): lag for name, ask in figures.queues.items() if (lag := ask()) is not None}
        yield _gauge("queue_lag_jobs", "Jobs in the queue that no replica has taken yet, as the broker tells.",
                     ("queue",), lags)  # fmt: skip
        held = {} if figures.in_hand is None else {(): figures.in_hand()}
        yield _gauge(
            "messages_in_hand", "Messages taken from queues and neither acknowledged nor given back.", (), held
        )
        state = {} if figures.state is None else {(): int(figures.state())}
        yield _gauge("state_up", "Whether the shared state can be reached.", (), state)
        conditions = figures.conditions()
        yield _gauge("ready", "Whether /readyz says yes.", (), {(): int(all(conditions.values()))})
        yield _gauge("condition", "1 for each condition of readiness that is met.", ("condition",),
                     {(name,): int(met) for name, met in conditions.items()})  # fmt: skip


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"sender_{name}", text, labels=labels)
    for key, value in list(values.items()):
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"sender_{name}", text, labels=labels)
    for key, value in list(values.items()):
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"sender_{name}", text, labels=(label,))
    for key, histogram in values.items():
        family.add_metric((key,), histogram.buckets(), histogram.total)
    return family


def _now() -> float:
    return asyncio.get_running_loop().time()
