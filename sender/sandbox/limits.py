"""The API's limits, counted on the instants of arrival (API.md section 1.1)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import Final, Literal, Protocol

Mode = Literal["strict", "bucket"]
LATEST: Final = 5.0
"""Seconds by which an arrival may be told late."""


class Limit(Protocol):
    """One budget."""

    def take(self, at: float) -> float | None:
        """None when the request of this instant is within the limit, else the seconds until one is."""


class SlidingWindow:
    """At most `most` requests in any `window` seconds, without tolerance; refused ones do not count."""

    def __init__(self, most: int, window: float) -> None:
        self._most = most
        self._window = window
        self._taken: list[float] = []

    def take(self, at: float) -> float | None:
        """See `Limit.take`; arrivals may come slightly out of order."""
        stamps = self._taken
        place = bisect_right(stamps, at)
        stamps.insert(place, at)
        for last in range(place, min(len(stamps), place + self._most + 1)):
            first = last - self._most
            if 0 <= first <= place and stamps[last] - stamps[first] < self._window:
                del stamps[place]
                return self._window - (at - stamps[min(first, len(stamps) - 1)])
        if stamps[len(stamps) // 2] < at - 2 * self._window - LATEST:
            del stamps[: len(stamps) // 2]
        return None


class TokenBucket:
    """Holds `most` tokens, refilled evenly over `window` seconds."""

    def __init__(self, most: int, window: float) -> None:
        self._most = float(most)
        self._rate = most / window
        self._tokens = float(most)
        self._at = 0.0

    def take(self, at: float) -> float | None:
        """See `Limit.take`."""
        self._tokens = min(self._most, self._tokens + max(0.0, at - self._at) * self._rate)
        self._at = max(self._at, at)
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        return (1 - self._tokens) / self._rate


def make_limit(mode: Mode, rate: float) -> Limit:
    """A limit of `rate` a second; below 1 it means one in 1/rate seconds."""
    most, window = (int(rate), 1.0) if rate >= 1 else (1, 1 / rate)
    return SlidingWindow(most, window) if mode == "strict" else TokenBucket(most, window)


class Arrivals:
    """All arrivals of one lane, and what their times say."""

    def __init__(self) -> None:
        self.stamps = array("d")
        self.statuses: dict[int, int] = {}

    def add(self, at: float, status: int) -> None:
        """Note an arrival and its answer."""
        self.stamps.append(at)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def most_in(self, window: float) -> int:
        """The largest count in any window."""
        stamps = sorted(self.stamps)
        most = first = 0
        for last, stamp in enumerate(stamps):
            while stamp - stamps[first] >= window:
                first += 1
            most = max(most, last - first + 1)
        return most

    def figures(self, window: float) -> dict[str, object]:
        """Counts, rate and gaps."""
        stamps = sorted(self.stamps)
        span = stamps[-1] - stamps[0] if len(stamps) > 1 else 0.0
        gaps = sorted((later - earlier) * 1000 for earlier, later in pairwise(stamps))
        return {
            "arrived": len(stamps),
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "rejected_429": self.statuses.get(429, 0),
            "accepted": sum(number for status, number in self.statuses.items() if 200 <= status < 300),
            "max_in_window": self.most_in(window),
            "window_s": window,
            "rate": round((len(stamps) - 1) / span, 3) if span else 0.0,
            "first_at": stamps[0] if stamps else None,
            "last_at": stamps[-1] if stamps else None,
            "gaps_ms": {
                name: round(gaps[min(len(gaps) - 1, int(len(gaps) * share))], 3)
                for name, share in (("p1", 0.01), ("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            }
            if gaps
            else {},
        }
