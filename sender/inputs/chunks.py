"""A regular file piece by piece, from a place of one's own."""

from __future__ import annotations

import io
import os
from typing import Protocol

from sender.errors import InputError


class ChunkReader(Protocol):
    """Reads a file piece by piece."""

    def read(self) -> bytes:
        """The next piece, empty at the end; raises InputError."""


class Place(io.RawIOBase):
    """A place of its own in a shared descriptor."""

    def __init__(self, handle: int, start: int) -> None:
        self._handle = handle
        self.place = start

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """The next bytes."""
        data = os.pread(self._handle, len(buffer), self.place)
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


class Plain:
    """See `ChunkReader`."""

    def __init__(self, raw: Place, name: str, size: int) -> None:
        self._raw = raw
        self._name = name
        self._size = size

    def read(self) -> bytes:
        """See `ChunkReader.read`."""
        try:
            return self._raw.read(self._size) or b""
        except OSError as error:
            raise InputError(f"{self._name} broke while it was read: {error.strerror}") from None
