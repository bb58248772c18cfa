"""The ApiClock knows what time it is at the API, whatever happens to the clock of this machine.

The API tells its time in the `Date` of each answer; between answers the loop's clock counts on, which nobody can set.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STEP: Final = 1.5
"""Seconds: `Date` has whole seconds, so smaller differences mean nothing."""


class ClockMarks(TypedDict):
    """Kept beside the times that our clock told."""

    ahead: float | None
    """See `ApiClock.ahead`."""
    booted: float
    """When this machine was started, unix seconds by our clock: another time tells that the clock was set since."""


class ApiClock:
    """Made without an answer it counts on from our own clock."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.wall = wall
        self._loop = asyncio.get_running_loop()
        self._ours = wall() - self._loop.time()
        self._theirs = self._ours
        self._measured = False
        self._date: str | None = None
        self._steps = 0

    def observe(self, date: str | None) -> None:
        """An answer came just now, with this `Date` header."""
        if date is None or date == self._date:
            return
        try:
            seconds = parsedate_to_datetime(date).timestamp() + 0.5  # the middle of the second that it names
        except (ValueError, TypeError, OverflowError):
            return
        self._note_step()
        self._date = date
        theirs = seconds - self._loop.time()
        if not self._measured or abs(theirs - self._theirs) > STEP:
            self._theirs = theirs
        self._measured = True

    def now(self) -> float:
        """Unix seconds by the API's clock, as well as it is known."""
        return self._loop.time() + self._theirs

    @property
    def ahead(self) -> float | None:
        """Seconds by which the API's clock is ahead of ours; None until an answer told it since ours was last set."""
        self._note_step()
        return self._theirs - self._ours if self._measured else None

    @property
    def steps(self) -> int:
        """How often our clock was set, or stood still, while this was watched; for `ahead_since`."""
        self._note_step()
        return self._steps

    def ahead_since(self, steps: int | None) -> float | None:
        """The same as `ahead`, and None when our clock was set since `steps` was asked for."""
        self._note_step()
        return self._theirs - self._ours if self._measured and self._steps == steps else None

    def marks(self) -> ClockMarks:
        """What a reading of our clock is worth, to be kept beside it."""
        return {"ahead": self.ahead, "booted": self.wall() - _since_boot()}

    def marks_since(self, steps: int | None) -> ClockMarks | None:
        """The same for a reading made when `steps` was asked for; None when our clock was set since then."""
        return self.marks() if self.steps == steps else None

    def ahead_then(self, marks: Mapping[str, Any]) -> float | None:
        """By how much the API's clock was ahead of ours at a reading that has these marks, maybe of an earlier run."""
        if marks.get("ahead") is not None or marks.get("booted") is None:
            return marks.get("ahead")
        unset = abs(self.marks()["booted"] - marks["booted"]) <= STEP
        return self.ahead if unset else None

    def _note_step(self) -> None:
        ours = self.wall() - self._loop.time()
        if abs(ours - self._ours) > STEP:
            self._ours = ours
            self._steps += 1
            self._measured = False
            self._date = None


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
