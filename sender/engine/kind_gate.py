"""The KindGate of a session: which kinds of job the API does not allow with this key."""

from __future__ import annotations

from typing import Final

REFUSALS_OF_A_KIND: Final = 3
"""403s in a row that are not about a job's content, after which a kind is closed (docs/delivery-semantics.md)."""


class KindGate:
    """Counts refusals of each kind; a closed kind stays closed."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        """Kinds of which nothing further is started."""
        self._refused: dict[str, int] = {}

    def refuse(self, kind: str) -> bool:
        """A job of this kind was refused for its kind; whether the kind is closed now."""
        self._refused[kind] = self._refused.get(kind, 0) + 1
        if self._refused[kind] >= REFUSALS_OF_A_KIND:
            self.closed.add(kind)
        return kind in self.closed

    def passed(self, kind: str) -> None:
        """A job of this kind came to its end: the refusals before it were about their jobs."""
        self._refused.pop(kind, None)
