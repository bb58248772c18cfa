"""A CopyNote beside a file says how far a copy has come; it is written whole, or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from sender.errors import OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class CopyNote:
    """A small JSON object in a file of its own, for its owner's eyes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """What was written last; empty when nothing was. UsageError when it is no note."""
        try:
            found = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            raise UsageError(f"{self.path} cannot be read as the note of a copy ({type(error).__name__})") from None
        return found if isinstance(found, dict) else {}

    def write(self, found: dict[str, Any]) -> None:
        """Durable when this returns; OutputError when it cannot be."""
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(orjson.dumps(found))
                file.flush()
                os.fsync(handle)
            new.replace(self.path)
            sync_folder(self.path)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None


def sync_folder(path: Path) -> None:
    """The file's name is durable, too."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
