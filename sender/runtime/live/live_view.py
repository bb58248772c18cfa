"""The LiveView of a run: looks at it every second, and shows what it sees on a page and in the terminal.

Nothing that goes wrong here ends or slows a run: it is logged, and the view stands still.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sender.runtime.live.figures import Figures
from sender.runtime.live.history import History
from sender.runtime.live.observed import Observed, latency_of, problems_of
from sender.runtime.metrics import NoMetrics

if TYPE_CHECKING:

    from sender.runtime.live.controls import Controls
    from sender.runtime.live.history import Point
    from sender.runtime.live.watch import Watch
    from sender.runtime.metrics import Observer

EVERY: Final = 1.0
"""Seconds between two looks at the run."""
REFRESH: Final = 2
"""Looks from one question to ledger and replicas to the next."""
DEFAULT: Final = "default"

log = structlog.get_logger()


class Source(Protocol):
    """A front-end as a live view looks at it."""

    def look(self) -> Figures:
        """Where the run stands; returns at once."""

    async def refresh(self) -> None:
        """Ask for what takes time, each with a bound: ledger, replicas."""


class LiveOptions(Protocol):
    """What was asked for; the settings have it."""

    @property
    def live(self) -> str:
        """[HOST:]PORT of the page; empty: none."""

    @property
    def live_token_file(self) -> str:
        """Holds the token; empty: the page only shows."""

    @property
    def live_personal(self) -> bool:
        """Whether ids and job lines of dead letters may be shown to who has the token."""

    @property
    def watch(self) -> bool:
        """Whether the terminal shows the figures."""


class LiveView:
    """Made by `open_live`; front-ends give it a source, and tell it of the end."""

    def __init__(self, command: str, *, watch: Watch | None = None) -> None:
        self.history = History()
        self.controls: Controls | None = None
        """What an operator may do; None while there is nothing yet to be done."""
        self.figures = Figures(command, "starting")
        """As they were seen last."""
        self.number = 0
        """How often they were seen."""
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._observed: dict[str, Observed] = {}
        self._source: Source | None = None
        self._watch = watch
        self._point: Point | None = None
        self._news = asyncio.Event()

    @property
    def draws(self) -> bool:
        """Whether the terminal shows the figures, so that nobody else has to."""
        return self._watch is not None

    @property
    def ended(self) -> bool:
        """Whether nothing further comes."""
        return self.figures.state == "ended"

    def observer(self, workspace: str | None = None, then: Observer | None = None) -> Observer:
        """Who hears what happens in a workspace, and passes it on."""
        return self._observed.setdefault(workspace or DEFAULT, Observed(then))

    def outcomes(self) -> dict[str, int]:
        """Ends by status, in all workspaces."""
        found: dict[str, int] = {}
        for one in self._observed.values():
            for status, number in one.outcomes.items():
                found[status] = found.get(status, 0) + number
        return found

    def show(self, source: Source, controls: Controls | None = None) -> None:
        """Look at this from now on."""
        self._source, self.controls = source, controls

    def end(self, note: str) -> None:
        """The run has ended so; its last figures stay."""
        if not self.ended:
            self.controls = None
            self._see("ended", note)

    def event(self) -> bytes:
        """The figures, the latest point of the history, and whether an operator can do anything, as JSON."""
        point = None if self._point is None else list(self._point)
        return self.figures.to_json(point=point, wall=time.time(), operable=self.controls is not None)

    async def newer_than(self, number: int) -> int:
        """Wait until they were seen once more; returns how often by then."""
        while self.number <= number:
            await self._news.wait()
        return self.number

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while not self.ended:
            if self._source is not None and self.number % REFRESH == 0:
                try:
                    await self._source.refresh()
                except Exception as error:  # noqa: BLE001 - a view that breaks is no reason to end a run
                    self._broken(error)
            self._see()
            await asyncio.sleep(EVERY)

    def _see(self, state: str = "", note: str = "") -> None:
        now = self._loop.time()
        found = self._found()
        lane = found.main_lane
        all_observed = self._observed.values()
        changes = {"state": state, "note": note} if state else {}
        self.figures = replace(
            found, elapsed=round(now - self._begin, 1),
            latency=found.latency or (None if lane is None else latency_of(all_observed, lane.name)),
            problems=found.problems or problems_of(all_observed), **changes,  # type: ignore[arg-type]
        )
        self._point = self.history.add(self.figures, time.time())
        self.number += 1
        news, self._news = self._news, asyncio.Event()
        news.set()
        if self._watch is not None:
            self._watch.show(self.figures)

    def _found(self) -> Figures:
        """What the source says, else what was seen last."""
        try:
            return self.figures if self._source is None else self._source.look()
        except Exception as error:  # noqa: BLE001 - see `run`
            self._broken(error)
            return self.figures

    def _broken(self, error: Exception) -> None:
        self._source = None
        log.warning("the live view stands still; the run goes on", error=type(error).__name__)


def observer_of(view: LiveView | None, workspace: str | None = None, then: Observer | None = None) -> Observer:
    """Who is to hear what happens in a workspace, whether somebody looks or not."""
    return then or NoMetrics() if view is None else view.observer(workspace, then)
