"""The ReadOrder of a queue with priorities of its own: high before normal before low, and none waits for ever."""

from __future__ import annotations

from typing import Final

USUAL: Final = ("high", "normal", "low")
LOW_FIRST: Final = ("low", "normal", "high")
NORMAL_FIRST: Final = ("normal", "high", "low")
TURN: Final = 20
"""Reads of which one begins with low, and one with normal: each has at least 5 %."""


class ReadOrder:
    """Of one reader."""

    def __init__(self) -> None:
        self._reads = 0

    def next(self) -> tuple[str, ...]:
        """The priorities as the next read asks for them."""
        self._reads += 1
        return {0: LOW_FIRST, TURN // 2: NORMAL_FIRST}.get(self._reads % TURN, USUAL)
