"""Private files for what can be read only once: unlinked at once, readable by nobody else."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 1 << 18


def spooled(name: str, handle: int) -> int:
    """Copy all that a descriptor gives, which is closed then, into a private file; returns the file's descriptor."""
    try:
        return spool(name, iter(lambda: os.read(handle, PIECE), b""))
    finally:
        os.close(handle)


def spool(name: str, pieces: Iterator[bytes]) -> int:
    """A private file of these pieces, at its beginning; UsageError when there is no room for it."""
    with tempfile.TemporaryFile(buffering=0) as file:
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(file.fileno(), rest) :]
        except OSError as error:
            where = f"{tempfile.gettempdir()}: {error.strerror}; set TMPDIR to a folder with room"
            raise UsageError(f"{name} cannot be kept in {where}") from None
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return os.dup(file.fileno())
