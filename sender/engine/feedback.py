"""The ResponseFeedback of a lane learns from every answer how fast the lane as a whole may go.

A 429 teaches the guard and, when it names a time or there are many in a row, pauses the lane; failures count towards
the breaker; a Retry-After of any answer is kept by the whole lane.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sender.errors import HaltError

if TYPE_CHECKING:
    from sender.engine.breaker import Breaker
    from sender.engine.lane_context import LaneContext
    from sender.engine.outage import Outage
    from sender.engine.pacing.guard import Guard
    from sender.engine.pacing.pace import Pace
    from sender.jobs.kinds import LaneName
    from sender.transport.verdict import Verdict

STORM: Final = 3
"""429s in a row after which the lane itself waits."""


class ResponseFeedback:
    """Slows the lane down, and lets it go again."""

    def __init__(
        self,
        name: LaneName,
        context: LaneContext,
        pacer: Pace,
        breaker: Breaker,
        guard: Guard | None,
        outage: Outage,
    ) -> None:
        self._name = name
        self._context = context
        self._pacer = pacer
        self._breaker = breaker
        self._guard = guard
        self._outage = outage
        self._loop = asyncio.get_running_loop()
        self._storm = 0
        self._slowed_at = float("-inf")
        self.http_429 = 0

    @property
    def outage(self) -> bool:
        """Whether the API gives no sign at all just now."""
        return self._breaker.away

    def is_refusal(self, started: float) -> bool:
        """See `Breaker.is_refusal`."""
        return self._breaker.is_refusal(started)

    def learn(self, verdict: Verdict, latency: float | None, started: float) -> None:
        """Take in the answer to an attempt that began at `started`; `latency` in seconds, None without an answer."""
        now = self._loop.time()
        if verdict.throttled:
            self._slow_down(verdict, now, started)
            return
        self._storm = 0
        if self._guard is not None:
            self._guard.accepted(now, latency)
        if verdict.what in ("retry", "ambiguous"):
            self._breaker.bad(now, started)
            if verdict.retry_after is not None:
                self._pause(verdict.retry_after, now)
        elif latency is not None:
            self._breaker.good(now, latency)
            self._outage.over()

    def _slow_down(self, verdict: Verdict, now: float, started: float) -> None:
        self.http_429 += 1
        if started > self._slowed_at:  # those under way together are one refusal
            self._storm += 1
            self._slowed_at = now
        if self._guard is not None:
            self._guard.refused(now)
        self._breaker.good(now, 0.0)
        self._outage.met(now, "it answers 429 to everything")
        if verdict.retry_after is not None:
            self._pause(verdict.retry_after, now)
        elif self._guard is None or self._storm > STORM:
            self._pause(self._context.policy.backoff.delay(self._storm) + self._pacer.window / 2, now)

    def _pause(self, seconds: float, now: float) -> None:
        if seconds > self._context.policy.max_wait:
            self._context.listener.halt(HaltError(_told_to_wait(self._name, seconds, self._context.wall() + seconds)))
            return
        self._pacer.pause_until(now + seconds)


def _told_to_wait(lane: str, seconds: float, until: float) -> str:
    when = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        f"the API asks the lane {lane} to wait {seconds:,.0f} s, until {when}; that is longer than --max-wait. "
        "Run the same command again then"
    )
