"""A terminal to draw on, and what stands on it."""

from __future__ import annotations

import io
import re


class Terminal(io.StringIO):
    """Keeps what was written and says that it is a terminal; one whose width changes breaks its lines anew."""

    def __init__(self, width: int = 80) -> None:
        super().__init__()
        self.width = width
        self._lines = [""]
        self._line = self._column = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for sign in re.findall(r"\x1b\[[0-9]*[A-Za-z]|.|\n", text):
            self._put(sign)
        return super().write(text)

    def rows(self) -> list[str]:
        """What is seen."""
        width = self.width
        return [line[at : at + width] for line in self._lines for at in range(0, max(1, len(line)), width)]

    def _put(self, sign: str) -> None:
        line, row = self._lines[self._line], self._column - self._column % self.width
        if sign == "\r":
            self._column = row
        elif sign == "\n":
            self._line, self._column = self._line + 1, 0
            self._lines += [""] * (self._line + 1 - len(self._lines))
        elif sign == "\x1b[J":  # to the end of the screen
            self._lines[self._line :] = [line[: self._column]]
        elif sign == "\x1b[2K":  # the row of the cursor alone
            self._lines[self._line] = line[:row] + line[row + self.width :]
        elif re.fullmatch(r"\x1b\[\d+A", sign):  # up, in the same column
            self._line = max(0, self._line - int(sign[2:-1]))
        else:
            self._lines[self._line] = f"{line[: self._column]:<{self._column}}{sign}{line[self._column + 1 :]}"
            self._column += 1


def rows(written: str) -> list[str]:
    """What stands on a terminal after all that was written."""
    terminal = Terminal()
    terminal.write(written)
    return terminal.rows()
