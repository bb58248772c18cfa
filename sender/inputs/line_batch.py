"""A LineBatch is some lines of an input that follow one another, cut or not: it can be handed to another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sender.inputs.lines import LineCutter

if TYPE_CHECKING:
    from sender.jobs.job import Line


class LineBatch(NamedTuple):
    """Whole lines as bytes, or lines that were cut already; of neither any where nothing is there for the moment."""

    source: str
    first: int = 1
    """Number of the first line of `data`."""
    data: bytes = b""
    """Whole lines; their ends are not looked for before `cut`."""
    cut_lines: tuple[Line, ...] = ()

    @property
    def has_rows(self) -> bool:
        """Whether its lines were made of rows: what is known of those stays in this process."""
        return any(line.row is not None for line in self.cut_lines)

    def cut(self) -> list[Line]:
        """Its lines."""
        if not self.data:
            return list(self.cut_lines)
        cutter = LineCutter(self.source)
        cutter.number = self.first - 1
        return [*cutter.cut(self.data), *cutter.finish()]
