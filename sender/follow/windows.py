"""Windows of time: which lists show many deliveries at once, and which ones are cheaper asked for one by one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = 1000
"""Deliveries on a page of a list."""
MOST: Final = 10_000
"""Deliveries of ours in a window, unless they were accepted within LEAST seconds."""
LEAST: Final = 60.0
GAP: Final = 600.0
"""Seconds without a send of ours after which another window begins: what others sent there is not listed."""
SKEW: Final = 5.0
"""Seconds by which the time of an acceptance and that of the list may differ."""


class Window(NamedTuple):
    """A span of time, and how many deliveries of ours it holds."""

    first: float
    """When the first of them was accepted, unix seconds."""
    last: float
    sent: int
    open: int

    @property
    def span(self) -> tuple[int, int]:
        """Where its list begins and ends, unix seconds."""
        return max(0, int(self.first - SKEW)), int(self.last + SKEW) + 1

    @property
    def least_pages(self) -> int:
        """Pages that its list has if nobody else sent anything."""
        return -(-self.sent // PAGE)

    def is_listed(self, pages: int | None) -> bool:
        """Whether its list is cheaper than one request for each that is open; `pages` is what it had last time."""
        return self.open > max(self.least_pages, pages or 0)


def windows(accepted: Iterable[tuple[float, bool]]) -> Iterator[Window]:
    """Windows over times of acceptance in order, each with whether that one is open."""
    first = last = 0.0
    sent = waiting = 0
    for at, is_open in accepted:
        if sent and (at - last > GAP or (sent >= MOST and at - first >= LEAST)):
            yield Window(first, last, sent, waiting)
            sent = waiting = 0
        if not sent:
            first = at
        last = at
        sent += 1
        waiting += is_open
    if sent:
        yield Window(first, last, sent, waiting)
