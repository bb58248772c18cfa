"""The WriteHistory of a server: by it a failover is known, and whether writes were lost with it."""

from __future__ import annotations

from typing import Protocol, Self


class WriteHistory(Protocol):
    """The history of writes that a server has, as it told it at one moment."""

    def follows(self, before: Self | None) -> bool:
        """Whether another server took over since `before` was seen (None: since nobody knows when)."""

    def lost(self, before: Self | None) -> bool:
        """Whether it surely lacks what the server before had written."""
