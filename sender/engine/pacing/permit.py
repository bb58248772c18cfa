"""A Permit is the right to write one request now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Permit:
    """The right to write one request, to be used at once: tell it when the write returned, or that there was none."""

    __slots__ = ("_on_end",)

    def __init__(self, on_end: Callable[[bool], None]) -> None:
        self._on_end: Callable[[bool], None] | None = on_end

    def written(self) -> None:
        """The request's write has returned just now."""
        self._end(written=True)

    def cancel(self) -> None:
        """Nothing was written; does nothing after `written`."""
        self._end(written=False)

    def _end(self, *, written: bool) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(written)
