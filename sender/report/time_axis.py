"""The seconds of a run on paper: long pauses are cut short, so that what ran stays readable. Pure."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CUT: Final = 0.25
"""All pauses together take at most so much room for each second in which something ran."""
TICKS: Final = 6
APART: Final = 0.12
"""Part of the axis that a written time takes on a narrow screen."""
STEPS: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600)


class TimeAxis:
    """Places for seconds from the start, and where to write the time."""

    def __init__(self, last: float, pauses: Sequence[tuple[float, float]] = ()) -> None:
        self._last = last
        ran = last - sum(end - begin for begin, end in pauses)
        self._most = max(ran * CUT / max(1, len(pauses)), 1.0)
        self._cut = [(begin, end) for begin, end in pauses if end - begin > self._most]

    def place(self, at: float) -> float:
        """Where this second is drawn."""
        gone = 0.0
        for begin, end in self._cut:
            inside = min(max(at - begin, 0.0), end - begin)
            gone += inside * (1 - self._most / (end - begin))
        return at - gone

    def ticks(self) -> list[tuple[float, str]]:
        """(place, text) of the times that are written."""
        drawn = self.place(self._last)
        every = next((step for step in STEPS if drawn / step <= TICKS), -(-drawn // TICKS // 3600) * 3600)
        found: list[tuple[float, str]] = []
        for at in self._marks(every):
            if not found or self.place(at) - found[-1][0] >= drawn * APART:
                found.append((self.place(at), self._text(at, every)))
        return found

    def _marks(self, every: float) -> Iterator[float]:
        begin = 0.0
        for end, following in (*self._cut, (self._last, self._last)):
            first = -(-begin // every) * every
            yield from takewhile(lambda at, end=end: at <= end, count(first, every))  # type: ignore[misc]
            begin = following

    def _text(self, at: float, every: float) -> str:
        if self._last <= 180:
            return f"{at:g} s"
        hours, rest = divmod(round(at), 3600)
        if every >= 60:
            return f"{hours}:{rest // 60:02} h" if self._last > 7200 else f"{at / 60:g} min"
        return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
