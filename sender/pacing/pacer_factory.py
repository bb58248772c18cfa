"""A PacerFactory makes the pacers of a workspace's lanes: for a run alone, or, in `shared_state`, for replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sender.pacing.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.jobs.kinds import LaneName
    from sender.pacing.guard import Guard
    from sender.pacing.pacer import Pace

Demand = tuple[int, int, int]
"""Jobs that could start now: high, normal, low."""


class PacerFactory(Protocol):
    """Makes one pacer for each lane, and pauses them."""

    def pacer(
        self, lane: LaneName, rate: float, *, guard: Guard | None, demand: Callable[[], Demand], joins: bool
    ) -> Pace:
        """The lane's pacer; who `joins` others takes their rate instead of its own."""

    async def pause(self, lane: LaneName) -> None:
        """Start nothing in this lane until `resume`."""

    async def resume(self, lane: LaneName) -> None:
        """End a `pause`."""


class LocalPacers:
    """The pacers of a run that shares its limits with nobody."""

    def __init__(self) -> None:
        self._made: dict[LaneName, Pacer] = {}

    def pacer(
        self, lane: LaneName, rate: float, *, guard: Guard | None, demand: Callable[[], Demand], joins: bool
    ) -> Pacer:
        """See `PacerFactory.pacer`; there is nobody to join, and a slot needs no reservation."""
        del demand, joins
        self._made[lane] = Pacer(rate, guard=guard)
        return self._made[lane]

    async def pause(self, lane: LaneName) -> None:
        """See `PacerFactory.pause`."""
        self._made[lane].hold(True)

    async def resume(self, lane: LaneName) -> None:
        """See `PacerFactory.resume`."""
        self._made[lane].hold(False)
