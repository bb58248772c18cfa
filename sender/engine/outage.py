"""The Outage of a lane: for how long its work has met nothing but refusals, and when that is too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.errors import HaltError

if TYPE_CHECKING:
    from sender.engine.lane_context import LaneContext
    from sender.jobs.kinds import LaneName


class Outage:
    """Measured from one refusal to the latest, so that waiting alone, or a process that stood still, makes none."""

    def __init__(self, name: LaneName, context: LaneContext) -> None:
        self._name = name
        self._context = context
        self._since: float | None = None

    def met(self, now: float, seen: str) -> None:
        """At this loop time the API took nothing again, while work waits; ends the run after `max_outage` seconds."""
        if self._since is None:
            self._since = now
        seconds = now - self._since
        if seconds > self._context.policy.max_outage:
            told = f"the API has taken nothing in the lane {self._name} for {seconds:,.0f} s (--max-outage): {seen}"
            self._context.listener.halt(HaltError(f"{told}. Run the same command again when it is back"))

    def over(self) -> None:
        """The API answers, or no work waits for it."""
        self._since = None
