"""Finds ids that stand more than once, over any number of rows: they are compared by hashes, on disk when many."""

from __future__ import annotations

import tempfile
from array import array
from collections import Counter
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PARTS: Final = 256
MOST_IN_MEMORY: Final = 1 << 21
"""Hashes of 8 bytes."""


class RepeatedIds:
    """Parts the hashes by their last bits, so that one part after another can be looked through."""

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(PARTS)]
        self._files: list[IO[bytes]] = []
        self._held = 0

    def add(self, ids: Iterable[object]) -> int:
        """Note these, those that are None left out; returns how many there are, those included."""
        parts, number = self._parts, 0
        for one in ids:
            number += 1
            if one is not None:
                hashed = hash(one)
                parts[hashed & 255].append(hashed)
        self._held += number
        if self._held > MOST_IN_MEMORY:
            self._write()
        return number

    def hashes(self) -> Iterator[Counter[int]]:
        """The hashes that stand more than once, with how often; a few at a time."""
        if self._files:
            self._write()
        for place, part in enumerate(self._parts):
            if self._files:
                self._files[place].seek(0)
                part.frombytes(self._files[place].read())
            if len(set(part)) < len(part):
                yield Counter({hashed: times for hashed, times in Counter(part).items() if times > 1})
            del part[:]

    def close(self) -> None:
        """Let go of the disk."""
        for file in self._files:
            file.close()

    def _write(self) -> None:
        if not self._files:
            self._files = [tempfile.TemporaryFile(buffering=0) for _ in range(PARTS)]  # noqa: SIM115 - until `close`
        for file, part in zip(self._files, self._parts, strict=True):
            file.write(part.tobytes())
            del part[:]
        self._held = 0
