"""A DigestSet holds ten million people in some 70 MB: 7 bytes of the SHA-256 of each, 2 of them by their place.

Two digests that agree in 56 bits are taken for one: with ten million entries that is one job in 7 * 10^9.
"""

from __future__ import annotations

from typing import Final

PARTS: Final = 1 << 16
"""One for each value of the first two bytes."""
REST: Final = 5
"""Bytes that are kept of each digest, those after the first two."""


class DigestSet:
    """Grows only; not sorted, since a part holds a few hundred entries and is searched in well under a microsecond."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(PARTS)]
        self._size = 0

    def __len__(self) -> int:
        """Entries, repeated ones too."""
        return self._size

    def add(self, digest: bytes) -> None:
        """Put a digest in, of 7 bytes or more; one that is there already is put in again."""
        self._parts[digest[0] << 8 | digest[1]] += digest[2 : 2 + REST]
        self._size += 1

    def __contains__(self, digest: bytes) -> bool:
        part, rest = self._parts[digest[0] << 8 | digest[1]], digest[2 : 2 + REST]
        place = part.find(rest)
        while place >= 0 and place % REST:  # it was found across two entries
            place = part.find(rest, place + 1)
        return place >= 0
