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
        self._wanted = wanted
        self._number = 0
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._too_long = False

    def cut(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completes."""
        first, *others = chunk.split(b"\n")
        if not others:
            self._keep(first)
            return []
        lines: list[Line] = []
        self._keep(first)
        self._complete(lines)
        *whole, last = others
        for data in whole:
            self._number += 1
            if len(data) > self._most:
                self._add_fault(lines)
            else:
                self._add(lines, data)
        self._keep(last)
        return lines

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
        self._number += 1
        if self._too_long:
            self._add_fault(lines)
        else:
            self._add(lines, b"".join(self._rest))
        self._rest.clear()
        self._rest_size = 0
        self._too_long = False

    def _add(self, lines: list[Line], data: bytes) -> None:
        data = data.removesuffix(b"\r")
        if self._number == 1:
            data = data.removeprefix(BOM)
        if data and not data.isspace() and (self._wanted is None or self._wanted(data)):
            lines.append(Line(self._source, self._number, data))

    def _add_fault(self, lines: list[Line]) -> None:
        if self._wanted is None or self._wanted(b""):
            fault = Problem("line_too_long", None, f"the line is longer than {self._most:,} bytes; it was not read")
            lines.append(Line(self._source, self._number, b"", fault))
