"""Blocks: a file cut behind a line every 256 KiB, at the same places each time that it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sender.inputs.chunks import ChunkReader

SIZE: Final = 1 << 18
MOST: Final = 1 << 20
"""Bytes without a line end after which no more is held: such a piece is no block."""


class Block(NamedTuple):
    """Some bytes of a file."""

    data: bytes
    whole: bool
    """Whether they begin and end with a line."""


class BlockReader:
    """Gives a file block by block."""

    def __init__(self, reader: ChunkReader) -> None:
        self._reader = reader
        self._rest = b""
        self._begins = True
        """Whether the rest begins with a line."""

    def read(self) -> Block:
        """The next block, empty at the end; raises InputError."""
        data, place = self._rest, SIZE - 1
        while (end := data.find(b"\n", place)) < 0 and len(data) < MOST:
            place = max(place, len(data))
            chunk = self._reader.read()
            if not chunk:
                end = len(data)
                break
            data += chunk
        whole = self._begins and 0 <= end < MOST  # else it would depend on what the last read brought
        self._begins = end >= 0
        cut = end + 1 if end >= 0 else len(data)
        self._rest = data[cut:]
        return Block(data[:cut], whole)
