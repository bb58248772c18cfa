"""The Figures in Prometheus' own words (extra `metrics`): one registry of our own, read anew at each scrape.

Names begin with `sender_`, units are base units, and what several replicas see alike (jobs in doubt, queue lag, the
limit) is to be taken as `max` over them, what each does for itself as `sum`.
"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING, Final, TypeVar

from sender.errors import UsageError
from sender.runtime.version import __version__

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

    from sender.runtime.histogram import Histogram
    from sender.runtime.metrics.figures import Figures
    from sender.runtime.metrics.workspace_metrics import Lane

Labels = TypeVar("Labels", bound="tuple[str, ...]")

BREAKER_STATES: Final = ("closed", "open", "trying")
DOUBTFUL: Final = ("in_doubt", "handed_over")
LANE: Final = ("workspace", "lane")


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
                     {(__version__, platform.python_version()): 1})
        yield from self._jobs()
        yield from self._times()
        yield from self._lanes()
        yield from self._pace()
        yield from self._surroundings()

    def _jobs(self) -> Iterable[Metric]:
        all_of = self._figures.workspaces.items()
        yield _counter("requests", "Requests to the API by HTTP status, or by the fault that left them without one.",
                       ("workspace", "lane", "kind", "status"),
                       {(w, *key): count for w, one in all_of for key, count in one.requests.items()})
        yield _counter("outcomes", "Jobs that ended so; one whose fate changes later counts once more.",
                       ("workspace", "status"),
                       {(w, status): count for w, one in all_of for status, count in one.outcomes.items()})
        yield _gauge("ledger_jobs", "Jobs that the ledger holds as in doubt or handed over; shared by all replicas.",
                     ("workspace", "state"),
                     {(w, state): one.counts.get(state, 0)
                      for w, one in all_of if one.counts is not None for state in DOUBTFUL})

    def _times(self) -> Iterable[Metric]:
        all_of = self._figures.workspaces.items()
        yield _histogram("request_duration_seconds", "Time of a request, from its writing to its whole answer.",
                         "lane", {w: one.latency for w, one in all_of})
        yield _histogram("pacer_wait_seconds", "Time that a job which was ready waited for its turn.",
                         "lane", {w: one.turns for w, one in all_of})
        yield _histogram("ledger_commit_seconds", "Time of a durable write to the ledger.",
                         "operation", {w: one.commits for w, one in all_of})

    def _each_lane(self) -> list[tuple[tuple[str, str], Lane]]:
        return [((w, n), lane) for w, one in self._figures.workspaces.items() for n, lane in one.lanes.items()]

    def _lanes(self) -> Iterable[Metric]:
        lanes = self._each_lane()
        yield _gauge("requests_in_hand", "Requests under way.", LANE, {key: x.in_hand for key, x in lanes})
        yield _gauge("jobs_waiting", "Jobs taken on and not under way.", LANE, {key: x.waiting for key, x in lanes})
        yield _counter("http_429", "Requests that the API answered with 429.", LANE,
                       {key: x.http_429 for key, x in lanes})
        yield _gauge("breaker_state", "1 for the state in which the breaker is.", (*LANE, "state"),
                     {(*key, s): int(x.breaker.state == s) for key, x in lanes for s in BREAKER_STATES})
        yield _counter("breaker_openings", "How often the breaker opened.", LANE,
                       {key: x.breaker.opened for key, x in lanes})

    def _pace(self) -> Iterable[Metric]:
        now, all_of = _now(), self._figures.workspaces
        pacers = [(key, lane.pacer) for key, lane in self._each_lane()]
        yield _counter("requests_written", "Requests written to the API.", LANE,
                       {key: p.requests for key, p in pacers})
        yield _gauge("achieved_rate", "Requests a second that this replica wrote over about the last 10 s.", LANE,
                     {(w, n): all_of[w].rates[n].look(now, p.requests) for (w, n), p in pacers})
        yield _gauge("window_requests_max", "Most requests that this replica ever wrote in any sliding window.",
                     LANE, {key: p.most_in_window for key, p in pacers})
        yield _gauge("rate_limit", "Requests a second that all replicas may write together.", LANE,
                     {key: p.rate for key, p in pacers})
        yield _gauge("pause_seconds", "Time until which a lane is told to wait; 0 when it is not.", LANE,
                     {key: max(0.0, p.paused_until - now) for key, p in pacers})

    def _surroundings(self) -> Iterable[Metric]:
        figures = self._figures
        lags = {(name,): lag for name, ask in figures.queues.items() if (lag := ask()) is not None}
        yield _gauge("queue_lag_jobs", "Jobs in the queue that no replica has taken yet, as the broker tells.",
                     ("queue",), lags)
        held = {} if figures.in_hand is None else {(): figures.in_hand()}
        yield _gauge(
            "messages_in_hand", "Messages taken from queues and neither acknowledged nor given back.", (), held
        )
        state = {} if figures.state is None else {(): int(figures.state())}
        yield _gauge("state_up", "Whether the shared state can be reached.", (), state)
        conditions = figures.conditions()
        yield _gauge(
            "ready", "Whether /readyz says yes.", (), {(): int(all(conditions.values()))} if conditions else {}
        )
        yield _gauge("condition", "1 for each condition of readiness that is met.", ("condition",),
                     {(name,): int(met) for name, met in conditions.items()})


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


def _histogram(
    name: str, text: str, label: str, values: Mapping[str, Mapping[str, Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"sender_{name}", text, labels=("workspace", label))
    for workspace, histograms in values.items():
        for key, histogram in histograms.items():
            family.add_metric((workspace, key), histogram.buckets(), histogram.total)
    return family


def _now() -> float:
    return asyncio.get_running_loop().time()
