"""The Schedule of a run's lanes: hours and days, the day's cap and the ramp, beside the limit that always holds.

See docs/guard-rails.md, "When". Hours and days hold all lanes; the cap and the ramp the lane `send`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from sender.engine.pacing.calendar import Calendar
from sender.engine.pacing.daily_cap import DailyCap
from sender.engine.pacing.ramp import Ramp

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.config.settings import Settings
    from sender.engine.pacing.pace import Pace
    from sender.jobs.kinds import LaneName
    from sender.ledger import Ledger

LANE: Final = "send"
LOOK_AGAIN: Final = 60.0
"""Seconds after which a lane that waits looks at the clock again: it may have been set."""
OPEN: Final = float("-inf")

log = structlog.get_logger()


class Schedule:
    """Made before the first request; `open` gives it the memory that keeps the cap. Instants are loop times."""

    def __init__(self, settings: Settings, wall: Callable[[], float]) -> None:
        """UsageError when a setting cannot be understood."""
        self._wall = wall
        self._calendar = Calendar.parse(settings.window, settings.days, settings.timezone)
        self._calendar.span(wall())
        self._most = settings.daily_cap
        self._ramp = Ramp.parse(settings.ramp, settings.rate) if settings.ramp else None
        self._cap: DailyCap | None = None
        self._ramp_began: float | None = None
        self._told: float | None = None
        """Unix seconds until which it was said that lanes wait."""

    def open(self, ledger: Ledger) -> None:
        """Keep the cap in this memory."""
        self._cap = DailyCap(self._most, self._calendar, ledger) if self._most else None

    @property
    def limits(self) -> bool:
        """Whether there is anything to keep: hours, days, a cap or a ramp."""
        return not self._calendar.always or self._most > 0 or self._ramp is not None

    def opens_at(self, lane: LaneName, ahead: float = 0.0) -> float:
        """When the lane may start a job: in the past, or an instant at which to ask again.

        A job that could not start within `ahead` seconds counts as one that cannot start.
        """
        now = self._wall()
        opening, closing = (now, float("inf")) if self._calendar.always else self._calendar.span(now)
        if opening <= now and now + ahead >= closing:
            opening = self._calendar.span(closing)[0]
        if lane == LANE and self._cap is not None:
            opening = max(opening, self._cap.full_until)
        if opening <= now:
            return OPEN
        self._tell(opening)
        return asyncio.get_running_loop().time() + min(LOOK_AGAIN, opening - now)

    async def admit(self, lane: LaneName, pace: Pace) -> float:
        """The same for a job that is to start now; takes from the day's cap, and sets the ramp's rate."""
        at = self.opens_at(lane)
        if at == OPEN and lane == LANE:
            if self._cap is not None and not await self._cap.has_room(self._wall()):
                return self.opens_at(lane)
            self._follow_ramp(pace)
        return at

    def started(self, lane: LaneName) -> None:
        """A request is being made."""
        if lane == LANE and self._cap is not None:
            self._cap.use()

    async def close(self, lane: LaneName) -> None:
        """The lane starts nothing more."""
        if lane == LANE and self._cap is not None:
            await self._cap.give_back()

    def _follow_ramp(self, pace: Pace) -> None:
        if self._ramp is None:
            return
        now = asyncio.get_running_loop().time()
        if self._ramp_began is None:
            self._ramp_began = now
        rate = self._ramp.rate(now - self._ramp_began)
        if rate != pace.rate:
            pace.set_rate(rate)
        if rate >= self._ramp.last:
            self._ramp = None

    def _tell(self, until: float) -> None:
        if until != self._told:
            self._told = until
            log.info("nothing starts until the schedule allows it", until=self._calendar.shown(until))
