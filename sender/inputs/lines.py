"""Cuts chunks of bytes into lines, whatever their size and ends, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.jobs.job import MOST_LINE, Line
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

BOM: Final = b"\xef\xbb\xbf"


class LineCutter:
    """One input's lines, numbered from 1; blank ones are counted and left out, ends and a BOM are cut off.

    With `wanted` only the lines that it says yes to are given out; it is asked with the line's data, empty for one
    that was too long.
    """

    def __init__(self, source: str, most: int = MOST_LINE, wanted: Callable[[bytes], bool] | None = None) -> None:
        self._source = source
        self._most = most
        self.wanted = wanted
        """May be changed between lines."""
        self.number = 0
        """Of the last line that is complete."""
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._too_long = False

    def cut(self, chunk: bytes, sent: int = 0) -> list[Line]:
        """The lines that this chunk completes.

        Those of `sent` (bit n for the nth line end in the chunk, counted from 0) are not read: one line stands for all
        of them that follow one another. Such a chunk begins with a line.
        """
        first, *others = chunk.split(b"\n")
        if not others and not sent:
            self._keep(first)
            return []
        if sent:
            return self._cut_unsent([first, *others], sent)
        lines: list[Line] = []
        self._keep(first)
        self._complete(lines)
        *whole, last = others
        for data in whole:
            self._take(lines, data)
        self._keep(last)
        return lines

    def skip(self, block: bytes, filled: int) -> list[Line]:
        """What stands for the lines of a block of which so many are not blank, and all of them were sent."""
        self.number += block.count(b"\n") + (not block.endswith(b"\n"))
        return [Line(self._source, self.number, b"", passed=filled)] if filled else []

    def _cut_unsent(self, block: list[bytes], sent: int) -> list[Line]:
        *whole, last = block
        lines: list[Line] = []
        passed = 0
        for place, data in enumerate([*whole, last] if last else whole):
            if sent >> place & 1:
                self.number += 1
                passed += 1
                continue
            if passed:
                lines.append(Line(self._source, self.number, b"", passed=passed))
                passed = 0
            self._take(lines, data)
        if passed:
            lines.append(Line(self._source, self.number, b"", passed=passed))
        return lines

    def _take(self, lines: list[Line], data: bytes) -> None:
        self.number += 1
        if len(data) > self._most:
            self._add_fault(lines)
            return
        data = data.removesuffix(b"\r")
        if self.number == 1:
            data = data.removeprefix(BOM)
        if data and not data.isspace() and (self.wanted is None or self.wanted(data)):
            lines.append(Line(self._source, self.number, data))

    def finish(self) -> list[Line]:
        """The last line, if the input does not end with a line end."""
        lines: list[Line] = []
        if self._rest_size or self._too_long:
            self._complete(lines)
        return lines

    def _keep(self, data: bytes) -> None:
        if self._too_long or not data:
            return
        self._rest_size += len(data)
        if self._rest_size > self._most:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest.append(data)

    def _complete(self, lines: list[Line]) -> None:
        if self._too_long:
            self.number += 1
            self._add_fault(lines)
        else:
            self._take(lines, b"".join(self._rest))
        self._rest.clear()
        self._rest_size = 0
        self._too_long = False

    def _add_fault(self, lines: list[Line]) -> None:
        if self.wanted is None or self.wanted(b""):
            fault = Problem("line_too_long", None, f"the line is longer than {self._most:,} bytes; it was not read")
            lines.append(Line(self._source, self.number, b"", fault))
