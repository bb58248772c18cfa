"""The Timeline of a PostgreSQL server: the history that it has, and where it left the one before.

A standby that is promoted begins a new timeline where it had come to. What the server before wrote beyond it is
forgotten. A copy that was restored elsewhere has another system identifier. Pure.
"""

from __future__ import annotations

from typing import NamedTuple


class Timeline(NamedTuple):
    """As `tell_history` of `schema.sql` tells it."""

    history: str
    """System identifier and timeline."""
    written: int
    """Bytes of the log that are on the disk."""
    history_before: str
    """Empty for a server that nobody took over from since the state began."""
    left_at: int | None
    """Up to where the history before was followed; None where nobody knows."""

    def follows(self, before: Timeline | None) -> bool:
        """Whether this server took over since `before` was seen (None: since nobody knows when)."""
        promoted = self.history_before != ""
        return promoted and (before is None or before.history == self.history_before)

    def lost(self, before: Timeline | None) -> bool:
        """Whether it surely lacks what the server before had written, or may, for all that anybody knows."""
        return before is not None and self.follows(before) and (self.left_at is None or self.left_at < before.written)
