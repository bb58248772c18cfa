"""Where lines come from. A Source gives each lane its own feed, so that a full lane never holds another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName


class LaneOf(Protocol):
    """Tells the lane of a raw line; a line nobody can read belongs to the default kind's lane."""

    def __call__(self, data: bytes) -> LaneName:
        """The lane that this line is for."""


class Feed(Protocol):
    """The lines of one lane, in input order, over all inputs of the run."""

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """The next lines, at least one, as soon as there is one; empty at the end.

        At most `most` lines and about `most_bytes` of data (always one line at least). Raises InputError when an
        input breaks; lines before the break have been given out.
        """


class Source(Protocol):
    """All inputs of a run, opened before the first send."""

    def feed(self, lane: LaneName, lane_of: LaneOf) -> Feed:
        """The lane's own reader; called once for each lane, all with the same `lane_of`."""

    def stop(self) -> None:
        """Read no further: every feed ends after what it has given out."""

    async def aclose(self) -> None:
        """Close every file."""
