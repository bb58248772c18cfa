"""The LineCount counts the lines of a run's files ahead of their readers, in a thread beside the run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.errors import InputError
from sender.inputs.files import InputFile
from sender.inputs.lines import BOM
from sender.inputs.row_input import TableInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.inputs import Input

CHUNKS: Final = 16
"""Chunks counted in one go: some milliseconds, after which a run that has ended need not wait for more."""
PAUSE: Final = 0.005
"""Seconds between two goes: the pace of the lanes comes first."""


class LineCount:
    """How many lines there are, as a reader will give them out: blank ones do not count."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._files = [one for one in inputs if isinstance(one, InputFile)]
        self.countable = all(isinstance(one, InputFile | TableInput) for one in inputs)
        """False where a stream is among the inputs: nobody knows how long it is."""
        self.rows = 0
        """Those of tables, which somebody else has counted."""
        self.total: int | None = None
        """Lines in all; None until they are counted."""

    async def complete(self) -> None:
        """Count them now, unless that was done."""
        if self.total is None:
            await self.run()

    async def run(self) -> None:
        """Count to the end; an input that cannot be read leaves the total unknown, for its reader tells why."""
        if not self.countable:
            return
        counting, total = _counting(self._files), self.rows
        try:
            while (lines := await asyncio.to_thread(next, counting, None)) is not None:
                total += lines
                await asyncio.sleep(PAUSE)
        except InputError:
            return
        self.total = total


def _counting(files: Sequence[InputFile]) -> Iterator[int]:
    """Lines found, every few chunks."""
    for file in files:
        reader, filled, found, chunks = file.chunks(), False, 0, 0
        while data := reader.read():
            first, *lines = (data if chunks else data.removeprefix(BOM)).split(b"\n")
            filled = filled or bool(first.strip())
            if lines:
                *whole, last = lines
                found += filled + sum(map(bool, map(bytes.strip, whole)))
                filled = bool(last.strip())
            chunks += 1
            if chunks % CHUNKS == 0:
                yield found
                found = 0
        yield found + filled
