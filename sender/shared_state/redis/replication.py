"""The Replication of a Redis server: the history that it has, and where it left the one before.

A replica that becomes the master takes a new history id, and keeps the id of the master before (`master_replid2`) and
the place to which it had followed that (`second_repl_offset`). What the master wrote beyond it is forgotten. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class Replication(NamedTuple):
    """As INFO tells it."""

    history: str
    offset: int
    """Bytes written in all."""
    history_before: str
    """All zeros for a server that was never promoted."""
    left_at: int
    """The first byte of the history before that this server did not follow."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """KeyError or ValueError when it is not told."""
        return cls(
            str(info["master_replid"]), int(info["master_repl_offset"]), str(info["master_replid2"]),
            int(info["second_repl_offset"]),
        )

    def follows(self, before: Replication | None) -> bool:
        """Whether this server was promoted since `before` was seen (None: since nobody knows when)."""
        promoted = self.history_before.strip("0") != ""
        return promoted and (before is None or before.history == self.history_before)

    def lost(self, before: Replication | None) -> bool:
        """Whether it surely lacks what the server before had written."""
        return before is not None and self.follows(before) and self.left_at <= before.offset
