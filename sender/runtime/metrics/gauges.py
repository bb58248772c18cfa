"""Gauges reads, at each scrape, the parts that are at work: lanes, ledger, queues, conditions.

What several replicas see alike (jobs in doubt, queue lag, the limit) is to be taken as `max` over them, what each does
for itself as `sum`. What is not known has no sample.
"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING, Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sender.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

    from sender.runtime.metrics.watched import Lane
    from sender.runtime.metrics.watching import Watching
    from sender.runtime.metrics.workspace_metrics import Flag

Labels = TypeVar("Labels", bound="tuple[str, ...]")

BREAKER_STATES: Final = ("closed", "open", "trying")
DOUBTFUL: Final = ("in_doubt", "handed_over")
LANE: Final = ("workspace", "lane")
FLAGS: Final[dict[Flag, str]] = {
    "paused": "1 while an operator or the settings hold the lanes back.",
    "halted": "1 while nothing can be sent for this workspace; the log and /readyz say why.",
    "state_away": "1 while the shared state does not answer.",
}
DEAD: Final = ("invalid", "rejected", "failed", "in_doubt")


class Gauges(Collector):
    """Makes families of samples from what is watched."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not look at parts that are not yet there."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All families, those without a sample too."""
        yield _gauge("build_info", "Always 1; which version runs.", ("version", "python"),
                     {(__version__, platform.python_version()): 1})
        yield from self._jobs()
        yield from self._lanes()
        yield from self._pace()
        yield from self._flags()
        yield from self._messages()
        yield from self._dead_letters()
        yield from self._retries()
        deliveries = {} if self._watching.deliveries is None else self._watching.deliveries()
        yield _gauge("deliveries", "Deliveries that are followed, by their fate.", ("fate",),
                     {(fate,): number for fate, number in deliveries.items()})
        yield from self._surroundings()

    def _jobs(self) -> Iterable[Metric]:
        yield _gauge("ledger_jobs", "Jobs that the ledger holds as in doubt or handed over; shared by all replicas.",
                     ("workspace", "state"),
                     {(w, state): one.counts.get(state, 0)
                      for w, one in self._watching.workspaces.items() if one.counts is not None for state in DOUBTFUL})

    def _each_lane(self) -> list[tuple[tuple[str, str], Lane]]:
        return [((w, n), lane) for w, one in self._watching.workspaces.items() for n, lane in one.lanes.items()]

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
        now, all_of = asyncio.get_running_loop().time(), self._watching.workspaces
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

    def _flags(self) -> Iterable[Metric]:
        for flag, text in FLAGS.items():
            values = {(w,): int(one.flags[flag]()) for w, one in self._watching.workspaces.items() if flag in one.flags}
            yield _gauge(flag, text, ("workspace",), values)

    def _messages(self) -> Iterable[Metric]:
        watching = self._watching
        lags = {(name,): lag for name, ask in watching.queues.items() if (lag := ask()) is not None}
        yield _gauge("queue_lag_jobs", "Jobs in the queue without an end, those in hand too, as the broker tells.",
                     ("queue",), lags)
        yield _gauge("messages_in_hand", "Messages taken from queues and neither acknowledged nor given back.", (),
                     {} if watching.in_hand is None else {(): watching.in_hand()})
        oldest = None if watching.oldest is None else watching.oldest()
        yield _gauge("oldest_message_age_seconds", "Time since the oldest message in hand was read.", (),
                     {} if oldest is None else {(): oldest})
        yield _counter("redeliveries", "Messages read that had been given out for work before.", ("queue",),
                       {(name,): queue.redeliveries for name, queue in watching.traffic.items()})
        yield _counter("give_backs", "Messages put back into their queue without an end.", ("queue",),
                       {(name,): queue.give_backs for name, queue in watching.traffic.items()})

    def _dead_letters(self) -> Iterable[Metric]:
        letters = self._watching.dead_letters
        yield _counter("dead_letters_written", "Letters that the dead letter queue holds durably, by their reason.",
                       ("reason",), {} if letters is None else {(reason,): letters.written[reason] for reason in DEAD})
        yield _counter("dead_letters_refused", "Tries to write a letter that failed.", (),
                       {} if letters is None else {(): letters.refused})
        yield _gauge("dead_letters_waiting", "Letters that are not durable yet; their messages stay in hand.", (),
                     {} if letters is None else {(): letters.waiting})

    def _retries(self) -> Iterable[Metric]:
        retries = self._watching.retries
        yield _counter("retries_written", "Jobs that failed, and that the retry queue holds durably.", (),
                       {} if retries is None else {(): sum(retries.written.values())})
        yield _counter("retries_refused", "Tries to put a job to the retry queue that failed.", (),
                       {} if retries is None else {(): retries.refused})
        yield _gauge("retries_waiting", "Jobs that the retry queue has not taken yet; their messages stay in hand.", (),
                     {} if retries is None else {(): retries.waiting})

    def _surroundings(self) -> Iterable[Metric]:
        watching = self._watching
        state = {} if watching.state is None else {(): int(watching.state())}
        yield _gauge("state_up", "Whether the shared state can be reached.", (), state)
        parked, size = (None, None) if watching.parked is None else watching.parked()
        yield _gauge("messages_parked", "Messages in hand that wait for a full lane or for the dead letter.", (),
                     {} if parked is None else {(): parked})
        yield _gauge("memory_bytes", "What messages in hand take of --memory.", (), {} if size is None else {(): size})
        conditions = watching.conditions()
        ready = {(): int(all(conditions.values()))} if conditions else {}
        yield _gauge("ready", "Whether /readyz says yes.", (), ready)
        yield _gauge("condition", "1 for each condition of readiness that is met.", ("condition",),
                     {(name,): int(met) for name, met in conditions.items()})


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"sender_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"sender_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
