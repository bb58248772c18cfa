"""LaneRates reads the lanes of all workspaces, and knows what each wrote of late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.runtime.live.figures import lane_figures
from sender.runtime.recent_rate import RecentRate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.runtime.live.figures import LaneFigures
    from sender.runtime.metrics.watched import Lane


class LaneRates:
    """Looked at again and again; a lane that was opened anew begins anew."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], tuple[Lane, RecentRate]] = {}

    def look(self, workspaces: Mapping[str, Mapping[str, Lane]], now: float) -> list[LaneFigures]:
        """All lanes of all workspaces at this loop time."""
        return [
            lane_figures(workspace, name, lane, self._rate(workspace, name, lane, now), now)
            for workspace, lanes in workspaces.items() for name, lane in lanes.items()
        ]

    def _rate(self, workspace: str, name: str, lane: Lane, now: float) -> float:
        before = self._rates.get((workspace, name))
        if before is None or before[0] is not lane:
            before = self._rates[workspace, name] = (lane, RecentRate())
        return before[1].look(now, lane.pacer.requests)
