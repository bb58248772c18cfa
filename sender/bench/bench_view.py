"""What a live view sees of a benchmark while it runs."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

from sender.runtime.histogram import COARSE, Histogram
from sender.runtime.live.figures import Figures, LaneFigures, Latency, Problem
from sender.runtime.recent_rate import RecentRate

if TYPE_CHECKING:
    from sender.bench.driver import Driver
    from sender.bench.schedule import Schedule
    from sender.bench.stages import Stages

LATEST: Final = 5
"""Steps of the series over which latencies are told."""


class BenchView:
    """A live view's `Source`, from the measures of a driver."""

    def __init__(self, driver: Driver, schedule: Schedule | Stages) -> None:
        self._driver = driver
        self._schedule = schedule
        self._loop = asyncio.get_running_loop()
        self._rate = RecentRate()
        self._problems: dict[str, Problem] = {}

    def look(self) -> Figures:
        """See `Source.look`; what is planned in ramp and warm-up is requested, and not counted."""
        measures, schedule = self._driver.measures, self._schedule
        started = sum(step.planned for step in measures.series.steps.values()) - measures.not_started
        limited = math.isfinite(schedule.rate)
        passed = self._driver.passed
        lane = LaneFigures(
            "", "bench", started, round(self._rate.look(self._loop.time(), started), 1),
            schedule.rate if limited else None, None, measures.http_429, self._driver.in_hand, 0, "closed", 0, 0.0,
        )
        over = measures.stopped or passed > schedule.end
        return Figures(
            "bench", "starting" if passed < 0 else "stopping" if over else "running",
            total=schedule.total if limited else None, done=started, left=max(0.0, schedule.end - max(0.0, passed)),
            counts={
                "ok": measures.ok, "other_answers": measures.codes.total(), "held_up": measures.held_up,
                "not_started": measures.not_started,
            },
            lanes=[lane], latency=self._latency(), problems=self._seen(measures.codes),
        )

    async def refresh(self) -> None:
        """See `Source.refresh`: there is nobody to ask."""

    def _latency(self) -> Latency | None:
        """Milliseconds from the planned start, of the last seconds."""
        steps = self._driver.measures.series.steps
        found = Histogram(COARSE)
        for number in sorted(steps)[-LATEST:]:
            found.merge(steps[number].latency_ms)
        p50, p90, p99 = found.percentiles((50, 90, 99))
        if p50 is None or p90 is None or p99 is None:
            return None
        return Latency(found.count, round(p50, 1), round(p90, 1), round(p99, 1), round(found.most, 1))

    def _seen(self, codes: dict[str, int]) -> list[Problem]:
        for code, count in codes.items():
            before = self._problems.get(code)
            if before is None or before.count != count:
                self._problems[code] = Problem(code, "not ok", count, time.time())
        return sorted(self._problems.values(), key=lambda one: -one.at)
