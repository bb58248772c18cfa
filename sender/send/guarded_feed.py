"""A GuardedFeed ends a stream before the first job that another memory knows as sent or in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.inputs import Feed
    from sender.jobs.job import Line
    from sender.session.other_memories import OtherMemories


class GuardedFeed:
    """A feed held against other memories, a few lines at a time."""

    def __init__(self, feed: Feed, others: OtherMemories) -> None:
        self._feed = feed
        self._others = others
        self.refused = 0
        """Lines that were read and are not passed on."""

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`; UsageError when one of the lines is known elsewhere."""
        lines = await self._feed.read(most, most_bytes)
        try:
            await self._others.refuse_batch(lines)
        except UsageError:
            self.refused += len(lines)
            raise
        return lines
