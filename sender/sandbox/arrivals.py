"""What arrived, lane by lane: stamps and results, kept compactly, and the figures made of them."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from typing import TYPE_CHECKING

from sender.sandbox.limit import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEEP = 65_536
"""How many of the latest arrivals are kept when forgetting."""


class Arrivals:
    """The log of one lane."""

    def __init__(self, window: int = SECOND, *, forget: bool = False) -> None:
        self.window = window
        self._forget = forget
        self._stamps = array("q")
        self._results = array("H")
        self._labels: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._accepted = 0
        self.count = 0
        self._peaks = (0, 0)
        self._first: int | None = None
        self._last = 0

    def record(self, stamp: int, result: str, *, accepted: bool) -> None:
        """Note one arrival; `result` is the status that was answered, or the fault that took its place."""
        self.count += 1
        self._accepted += accepted
        self._counts[result] += 1
        self._first = stamp if self._first is None else min(self._first, stamp)
        self._last = max(self._last, stamp)
        self._stamps.append(stamp)
        self._results.append(self._labels.setdefault(result, len(self._labels)))
        if self._forget and len(self._stamps) >= 2 * _KEEP:
            self._peaks = self._current_peaks()
            del self._stamps[:_KEEP]
            del self._results[:_KEEP]

    def rows(self, lane: str) -> Iterator[tuple[int, str, str]]:
        """(stamp in ns, lane, result) of the arrivals kept."""
        labels = list(self._labels)
        return ((stamp, lane, labels[code]) for stamp, code in zip(self._stamps, self._results, strict=True))

    def figures(self) -> dict[str, object]:
        """The lane's part of the statistics; `max_in_window` counts refused requests too."""
        peaks = self._current_peaks()
        span = (self._last - self._first) / SECOND if self._first is not None else 0.0
        return {
            "arrived": self.count,
            "accepted": self._accepted,
            "rejected_429": self._counts["429"],
            "statuses": dict(self._counts),
            "max_in_window": peaks[0],
            "max_admitted_in_window": peaks[1],
            "window_s": self.window / SECOND,
            "rate": (self.count - 1) / span if span > 0 else None,
            "first_at": None if self._first is None else self._first / SECOND,
            "last_at": None if self._first is None else self._last / SECOND,
            "gaps_ms": _gaps(sorted(self._stamps)),
        }

    def _current_peaks(self) -> tuple[int, int]:
        refused = self._labels.get("429", -1)
        admitted = sorted(s for s, code in zip(self._stamps, self._results, strict=True) if code != refused)
        return (
            max(self._peaks[0], max_in_window(sorted(self._stamps), self.window)),
            max(self._peaks[1], max_in_window(admitted, self.window)),
        )


def max_in_window(stamps: Sequence[int], window: int) -> int:
    """The largest number of the sorted stamps in any half-open window."""
    most = start = 0
    for end, stamp in enumerate(stamps):
        while stamps[start] <= stamp - window:
            start += 1
        most = max(most, end - start + 1)
    return most


def _gaps(stamps: Sequence[int]) -> dict[str, float] | None:
    gaps = sorted(b - a for a, b in itertools.pairwise(stamps))
    if not gaps:
        return None
    last = len(gaps) - 1
    return {
        "p1": gaps[last // 100] / 1e6,
        "p50": gaps[last // 2] / 1e6,
        "p99": gaps[last * 99 // 100] / 1e6,
        "max": gaps[-1] / 1e6,
    }
