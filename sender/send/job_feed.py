"""A JobFeed is the lines of one lane that a program hands in, as a file or stdin gives them to `sender send`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.jobs.job import Line

MOST_LINES: Final = 100
"""Lines that wait for their check; who hands in more waits."""


class JobFeed:
    """See `sender.inputs.Feed`."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._changed = asyncio.Condition()
        self._stopped = False

    async def put(self, line: Line) -> bool:
        """Hand a line in as soon as there is room; False when the feed was stopped."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._stopped or len(self._lines) < MOST_LINES)
            if not self._stopped:
                self._lines.append(line)
                self._changed.notify_all()
            return not self._stopped

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._stopped or self._lines)
            taken: list[Line] = []
            while self._lines and len(taken) < most and (not taken or len(self._lines[0].data) <= most_bytes):
                taken.append(self._lines.popleft())
                most_bytes -= len(taken[-1].data)
            self._changed.notify_all()
            return taken

    async def stop(self) -> None:
        """Take no further line; those that wait are still read."""
        async with self._changed:
            self._stopped = True
            self._changed.notify_all()
