"""stderr, shared by the log and the live line of the progress: log lines go above it, and neither cuts the other.

The cursor waits at the beginning of the live line. A terminal that grows narrower may break the line into several; all
of them lie behind the cursor then, and are erased with it.
"""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

ERASE: Final = "\r\x1b[J"
"""Erases from the beginning of the cursor's row to the end of the screen."""
USUAL_WIDTH: Final = 80
USUAL_HEIGHT: Final = 24
PIECE: Final = 1000
"""Characters: in UTF-8 no more than a pipe takes at once whenever it takes anything."""


class Screen:
    """Writes to stderr, or to another stream; one that breaks or takes no more falls silent, and never holds a run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._lines: Sequence[str] = ()

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._given is None else self._given

    @property
    def is_terminal(self) -> bool:
        """Whether a live line can be drawn."""
        try:
            return self._stream.isatty() and os.environ.get("TERM") != "dumb"
        except (AttributeError, ValueError):
            return False

    @property
    def width(self) -> int:
        """Columns that a live line may take."""
        return self._size[0] - 1

    @property
    def _size(self) -> tuple[int, int]:
        """(columns, rows)."""
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            columns, rows = 0, 0
        return columns or USUAL_WIDTH, rows or USUAL_HEIGHT

    def write(self, text: str) -> int:
        """Write whole lines; the live line stays below them."""
        text = text.encode(errors="backslashreplace").decode()  # a name from the file system may hold anything
        self._put(f"{ERASE}{text}{self._drawn()}" if self._lines else text)
        return len(text)

    def flush(self) -> None:
        """Every write is flushed."""

    def show(self, line: str) -> None:
        """Draw the live line in place of the one before; an empty one takes it away."""
        self.show_lines([line] if line else [])

    def show_lines(self, lines: Sequence[str]) -> None:
        """Draw several live lines in place of those before; those that the screen has no room for are left out."""
        before, self._lines = self._lines, lines
        if lines or before:
            self._put(f"{ERASE}{self._drawn()}")

    def _drawn(self) -> str:
        """The live lines, with the cursor at the beginning of the first one."""
        shown = [line[: self.width] for line in self._lines[: max(1, self._size[1] - 1)]]
        up = f"\x1b[{len(shown) - 1}A" if len(shown) > 1 else ""
        return "\n".join(shown) + up + "\r" if shown else ""

    def _put(self, text: str) -> None:
        try:
            for start in range(0, len(text), PIECE):
                if not self._takes_more():
                    return
                self._stream.write(text[start : start + PIECE])
                self._stream.flush()
        except (OSError, ValueError):
            return

    def _takes_more(self) -> bool:
        """Whether a piece can be written without waiting for whoever reads; else it is lost, and the run goes on."""
        try:
            handle = self._stream.fileno()
        except (AttributeError, OSError, ValueError):  # no file behind it
            return True
        poll = select.poll()
        poll.register(handle, select.POLLOUT)
        return bool(poll.poll(0))


SCREEN: Final = Screen()
