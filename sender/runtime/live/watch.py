"""Watch draws the figures of a live view in the terminal, below the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import structlog

from sender.runtime.progress import clock
from sender.runtime.screen import SCREEN, Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.runtime.live.figures import Figures

BAR: Final = 24
MOST_PROBLEMS: Final = 5

log = structlog.get_logger()


class Watch:
    """On one screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    @classmethod
    def open(cls) -> Self | None:
        """None where stderr is no terminal: then nobody watches."""
        if not SCREEN.is_terminal:
            log.warning("--watch draws on a terminal, and stderr is none")
            return None
        return cls(SCREEN)

    def show(self, figures: Figures) -> None:
        """Draw them in place of those before; the last ones make room for the summary."""
        lines = [] if figures.state == "ended" else watch_lines(figures)
        self._screen.show_lines(lines)


def watch_lines(figures: Figures) -> list[str]:
    """All of it, the most important first: where the screen is low, lines are left out from the end."""
    return [_head(figures), *_pace(figures), *_books(figures), *_lanes(figures), *_problems(figures), *_around(figures)]


def _head(figures: Figures) -> str:
    parts = [f"sender {figures.command}", figures.state, clock(figures.elapsed)]
    if figures.total:
        share = min(1.0, (figures.done or 0) / figures.total)
        bar = f"{'━' * int(share * BAR):·<{BAR}}"
        parts.append(f"{bar} {int(share * 100)} %  {figures.done or 0:,} of {figures.total:,}")
    elif figures.done is not None:
        parts.append(f"{figures.done:,} done")
    if figures.left is not None:
        parts.append(f"{clock(figures.left)} left")
    return " · ".join(parts)


def _pace(figures: Figures) -> Iterator[str]:
    if (lane := figures.main_lane) is not None:
        limit = "no limit" if lane.limit is None else f"of {lane.limit:g}/s"
        shared = f", shared by {len(figures.replicas)}" if len(figures.replicas) > 1 else ""
        yield f"  rate     {lane.rate:,.1f}/s {limit}{shared} · {lane.in_hand:,} in hand · {lane.waiting:,} wait"
    if (latency := figures.latency) is not None:
        yield f"  latency  p50 {latency.p50:,.0f} ms · p99 {latency.p99:,.0f} ms · most {latency.most:,.0f} ms"


def _books(figures: Figures) -> Iterator[str]:
    counts = [f"{count:,} {name.replace('_', ' ')}" for name, count in figures.counts.items() if count]
    if counts:
        yield f"  books    {' · '.join(counts)}"
    if figures.in_doubt:
        yield f"  ledger   {figures.in_doubt:,} in doubt"


def _lanes(figures: Figures) -> Iterator[str]:
    several = len({lane.workspace for lane in figures.lanes}) > 1
    for lane in figures.lanes:
        if not lane.requests and lane.breaker == "closed":
            continue
        name = f"{lane.workspace}/{lane.name}" if several else lane.name
        parts = [
            f"{name}: {lane.requests:,} requests",
            *([f"at most {lane.most:,} in a window"] if lane.most is not None else []),
            *([f"{lane.http_429:,} answered 429"] if lane.http_429 else []),
            *([f"waits {lane.waits:.0f} s"] if lane.waits else []),
            *([f"breaker {lane.breaker}"] if lane.breaker != "closed" else []),
        ]
        yield f"  lane     {' · '.join(parts)}"


def _problems(figures: Figures) -> Iterator[str]:
    for problem in figures.problems[:MOST_PROBLEMS]:
        yield f"  problem  {problem.count:,} {problem.code} ({problem.status.replace('_', ' ')})"


def _around(figures: Figures) -> Iterator[str]:
    for condition in figures.conditions:
        if condition.reason:
            yield f"  not met  {condition.name}: {condition.reason}"
    for queue in figures.queues:
        lag = "not known" if queue.lag is None else f"{queue.lag:,}"
        yield f"  queue    {queue.name}: {lag} wait there · {queue.redeliveries:,} came again"
    if len(figures.replicas) > 1:
        ages = ", ".join(f"{one.seen:.0f} s" for one in figures.replicas)
        yield f"  replicas {len(figures.replicas)}, last seen {ages} ago"
    if (letters := figures.dead_letters) is not None:
        yield f"  dead     {letters['written']:,} letters written · {letters['waiting']:,} wait"
