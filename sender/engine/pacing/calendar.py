"""The Calendar: in which hours of which days requests may start, in the time zone of the readers. Pure.

Where clocks are put on or back the hours are those that the clocks there show: a time that is skipped is not sent in,
and of a time that comes twice an opening is the second, a closing the first. So it is never open outside of its hours.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from datetime import time as clock
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from sender.errors import UsageError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))")
_LOOK: Final = 15
"""Days that are looked through for the next opening: a day may lack its hours, when clocks are put on."""


class Calendar(NamedTuple):
    """Without hours it is open all day; `days` are those on which the hours begin."""

    zone: ZoneInfo
    begin: clock = clock()
    end: clock = clock()
    """At or before `begin` it is one of the next day."""
    days: frozenset[int] = frozenset(range(7))
    """Monday is 0."""

    @classmethod
    def parse(cls, window: str, days: str, zone: str) -> Self:
        """UsageError for what is no window, no days or no time zone."""
        try:
            found = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            raise UsageError(f"--timezone: there is no time zone {zone}; it is a name like Europe/Berlin") from None
        if not window:
            return cls(found, days=_days(days))
        match = _WINDOW.fullmatch(window.strip())
        if match is None:
            raise UsageError("--window takes hours like 09:00-18:00, or 22:00-06:00 over midnight")
        hour, minute = (0, 0) if match[5] else (int(match[3]), int(match[4]))
        return cls(found, clock(int(match[1]), int(match[2])), clock(hour, minute), _days(days))

    @property
    def always(self) -> bool:
        """Whether it is never closed."""
        return self.begin == self.end == clock() and len(self.days) == len(DAYS)

    def span(self, now: float) -> tuple[float, float]:
        """(opening, closing) in unix seconds of the hours that are open at `now`, or else of the next ones."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for number in range(-1, _LOOK):
            day = today + timedelta(number)
            if day.weekday() not in self.days:
                continue
            opening, closing = self._hours(day)
            if closing > max(now, opening):
                return opening, closing
        raise UsageError("--window and --days leave no time at all")

    def day(self, now: float) -> tuple[str, float]:
        """The date at `now`, and the unix seconds at which the next one begins."""
        today = datetime.fromtimestamp(now, self.zone).date()
        return today.isoformat(), self._opening(today + timedelta(1), clock(), first=True)

    def shown(self, instant: float) -> str:
        """Unix seconds as people there read them."""
        return datetime.fromtimestamp(instant, self.zone).strftime(f"%a %Y-%m-%d %H:%M {self.zone.key}")

    def _hours(self, day: date) -> tuple[float, float]:
        opening = self._opening(day, self.begin)
        last = day if self.end > self.begin else day + timedelta(1)
        closings = self._instants(last, self.end) or [self._at(last, self.end, fold=1)]
        return opening, next((closing for closing in closings if closing > opening), closings[-1])

    def _opening(self, day: date, at: clock, *, first: bool = False) -> float:
        instants = self._instants(day, at) or [self._at(day, at, fold=0)]
        return instants[0 if first else -1]

    def _instants(self, day: date, at: clock) -> list[float]:
        """When clocks show this time: never, once or twice."""
        found = sorted({self._at(day, at, fold) for fold in (0, 1)})
        return [one for one in found if datetime.fromtimestamp(one, self.zone).time() == at]

    def _at(self, day: date, at: clock, fold: int) -> float:
        return datetime.combine(day, at, self.zone).replace(fold=fold).timestamp()


def _days(text: str) -> frozenset[int]:
    if not text:
        return frozenset(range(len(DAYS)))
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = (word.strip() for word in part.partition("-"))
        if first not in DAYS or (last or first) not in DAYS:
            raise UsageError(f"--days takes days like mon-fri or sat,sun; the days are {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {number % len(DAYS) for number in range(begin, end + 1 + (len(DAYS) if end < begin else 0))}
    return frozenset(found)
