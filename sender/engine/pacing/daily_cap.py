"""The DailyCap: at most so many requests in a calendar day, over all runs and replicas of one memory.

Requests are taken from the day's number a few at a time, durably, before they are made: a run that is killed loses
those that it had taken, and the cap is never passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from sender.engine.pacing.calendar import Calendar
    from sender.ledger import Ledger

NOTE: Final = "daily cap"
MOST_AT_ONCE: Final = 100
TRIES: Final = 100
"""Replicas that take at the same moment make each other try again."""


class DailyCap:
    """The number is kept as a note of the memory: the date, and how many of that day are taken."""

    def __init__(self, most: int, calendar: Calendar, ledger: Ledger) -> None:
        self._most = most
        self._calendar = calendar
        self._ledger = ledger
        self._day = ""
        self._left = 0
        self.full_until = float("-inf")
        """Unix seconds until which none is left, as far as is known."""

    async def has_room(self, now: float) -> bool:
        """Whether one more request may be made at these unix seconds; takes further ones when none is in hand."""
        day, ends = self._calendar.day(now)
        if day != self._day:
            self._day, self._left = day, 0
        if not self._left:
            self._left = await self._take(day)
            self.full_until = float("-inf") if self._left else ends
        return self._left > 0

    def use(self) -> None:
        """One request is being made."""
        self._left = max(0, self._left - 1)

    async def give_back(self) -> None:
        """Those that were taken and not used are there for others."""
        left, self._left = self._left, 0
        for _ in range(TRIES if left else 0):
            note = await self._ledger.get_note(NOTE)
            day, taken = _read(note)
            if day != self._day or await self._ledger.swap_note(NOTE, note, _write(day, max(0, taken - left))):
                return

    async def _take(self, day: str) -> int:
        for _ in range(TRIES):
            note = await self._ledger.get_note(NOTE)
            noted, taken = _read(note)
            if noted > day:  # the clock was set back: that day's number holds on
                day = noted
            elif noted < day:
                taken = 0
            number = min(MOST_AT_ONCE, max(1, self._most // 20), self._most - taken)
            if number <= 0:
                return 0
            if await self._ledger.swap_note(NOTE, note, _write(day, taken + number)):
                return number
        return 0


def _read(note: bytes | None) -> tuple[str, int]:
    if note is None:
        return "", 0
    day, taken = orjson.loads(note)
    return str(day), int(taken)


def _write(day: str, taken: int) -> bytes:
    return orjson.dumps([day, taken])
