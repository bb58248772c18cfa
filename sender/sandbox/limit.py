"""The limits of the lanes, counted on arrival stamps; pure.

A refused request does not count towards the limit: a client that goes on knocking is let in as soon as the window
of what was admitted has room. The arrival log beside it counts all of them.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Final, Protocol

SECOND: Final = 1_000_000_000
_LATE: Final = 5 * SECOND
"""How far behind the newest stamp a request may still come in and be counted rightly."""
_PRUNE_EVERY: Final = 1024


class Limit(Protocol):
    """Answers for each arrival whether it is admitted."""

    def admit(self, stamp: int) -> int:
        """0 if admitted (and counted), else the nanoseconds until the next one would be."""


class Unlimited:
    """Admits everything."""

    def admit(self, stamp: int) -> int:
        """Always 0."""
        return 0 * stamp


class Window:
    """At most `count` admitted stamps in any sliding window, edges without tolerance, whatever their order."""

    def __init__(self, count: int, window: int) -> None:
        self.count = count
        self.window = window
        self._stamps: list[int] = []
        self._until_prune = _PRUNE_EVERY

    def admit(self, stamp: int) -> int:
        """The window is half open: two stamps exactly one window apart are not in the same one."""
        stamps, window = self._stamps, self.window
        here = bisect_right(stamps, stamp)
        if here - bisect_right(stamps, stamp - window) >= self.count:
            return max(1, stamps[here - self.count] + window - stamp)
        for later in range(here, len(stamps)):  # it came late: it must not overfill the windows after it either
            end = stamps[later]
            if end >= stamp + window:
                break
            if later + 2 - bisect_right(stamps, end - window) > self.count:
                return max(1, end + window - stamp)
        if here == len(stamps):
            stamps.append(stamp)
        else:
            insort(stamps, stamp)
        self._prune()
        return 0

    def _prune(self) -> None:
        self._until_prune -= 1
        if self._until_prune <= 0:
            self._until_prune = _PRUNE_EVERY
            del self._stamps[: bisect_right(self._stamps, self._stamps[-1] - self.window - _LATE)]


class Bucket:
    """A token bucket: `count` at once, refilled evenly over the window (docs/api.md, "What the sandbox imitates")."""

    def __init__(self, count: int, window: int) -> None:
        self.count = count
        self.window = window
        self._tokens = float(count)
        self._last: int | None = None

    def admit(self, stamp: int) -> int:
        """A stamp before the last one refills nothing."""
        if self._last is not None and stamp > self._last:
            self._tokens = min(self.count, self._tokens + (stamp - self._last) * self.count / self.window)
        self._last = stamp if self._last is None else max(self._last, stamp)
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return 0
        return max(1, int((1 - self._tokens) * self.window / self.count))


def count_and_window(rate: float) -> tuple[int, int]:
    """A rate per second as so many in so many nanoseconds: 100 is 100 in 1 s, 0.1 is 1 in 10 s."""
    count = max(1, int(rate))
    return count, round(count / rate * SECOND)


def make_limit(kind: str, rate: float) -> Limit:
    """The limit of one lane; a rate of 0 is none."""
    if not rate:
        return Unlimited()
    return (Bucket if kind == "bucket" else Window)(*count_and_window(rate))
