"""What a live view sees of a run of `send`, and what an operator may do about it from there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sender.config.settings import DEFAULTS
from sender.errors import UsageError
from sender.jobs.status import STATUSES
from sender.runtime.live.figures import Figures
from sender.runtime.live.lane_rates import LaneRates
from sender.runtime.live.replica_list import replicas_of
from sender.runtime.recent_rate import RecentRate
from sender.session.pauses import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.config.settings import Settings
    from sender.outcomes.summary import Books
    from sender.runtime.live.controls import Letters
    from sender.runtime.live.figures import Replica, State
    from sender.runtime.metrics.watched import Lane
    from sender.runtime.progress import Snapshot
    from sender.session.session import Session

OWN: Final = ""
"""A run has one workspace, which needs no name."""


class SendView:
    """A live view's `Source`, from the books, snapshots and lanes of the run."""

    def __init__(self, session: Session, books: Books, snapshot: Callable[[], Snapshot]) -> None:
        self._session = session
        self._books = books
        self._snapshot = snapshot
        self._loop = asyncio.get_running_loop()
        self._rate = RecentRate()
        self._lanes = LaneRates()
        self._replicas: Sequence[Replica] = ()

    def look(self) -> Figures:
        """See `Source.look`."""
        now, at, books = self._snapshot(), self._loop.time(), self._books
        rate = self._rate.look(at, now.done - now.sent_before)
        counts: dict[str, int] = {status: books.statuses[status] for status in STATUSES}
        lanes: dict[str, Lane] = dict(self._session.workspace.lanes.items())
        return Figures(
            "send", self._state(now), "" if self._session.halted is None else str(self._session.halted),
            total=now.total, done=now.done, left=now.seconds_left(rate),
            counts={**counts, "not_started": books.not_started}, lanes=self._lanes.look({OWN: lanes}, at),
            replicas=self._replicas,
        )

    async def refresh(self) -> None:
        """See `Source.refresh`."""
        self._replicas = await replicas_of(self._session.ledger)

    def _state(self, now: Snapshot) -> State:
        if now.stopping or self._session.ended:
            return "stopping"
        return "paused" if self._session.workspace.paused else "running"


class SendControls:
    """A live view's `Controls` of a run."""

    letters: Letters | None = None

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session = session
        self._settings = settings

    async def pause(self, paused: bool) -> None:
        """See `Controls.pause`."""
        await hold(self._session.workspace, self._session.ledger, paused)

    async def set_rate(self, rate: float) -> None:
        """See `Controls.set_rate`."""
        if self._settings.ramp:
            raise UsageError("this run follows a --ramp, which sets its rate")
        most = max(self._settings.rate, DEFAULTS.rate)
        if not 0 < rate <= most:
            raise UsageError(f"the rate has to be above 0 and at most {most:g} a second; more is for a run's settings")
        self._session.workspace.set_rates(replace(self._settings, rate=rate))
