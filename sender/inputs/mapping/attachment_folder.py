"""The folder of `--attachments`: files are read when their job starts, and never outside of the folder."""

from __future__ import annotations

import errno
import os
import stat
from base64 import b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.errors import UsageError
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_BYTES: Final = 2 * 2**20
"""Of all attachments of a job; the API takes less (docs/api.md, "Attachments")."""
FIELD: Final = "attachments"
LINKED: Final = "is a symbolic link, or stands behind one, which is not followed"


class Place(NamedTuple):
    """Where a file's content belongs in a body: bytes from and to, its path below the folder, its columns."""

    start: int
    end: int
    path: str
    column: str | None = None


class AttachmentFolder:
    """Opens files below one folder; no part of a path may be `..` or a symbolic link."""

    def __init__(self, path: str, *, check: bool = False) -> None:
        """With `check` files are looked for when their row is read."""
        self.check = check
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"--attachments {path} cannot be read: {error.strerror}") from None

    def size_of(self, path: str) -> int | str:
        """The file's size in bytes, or what is wrong with it."""
        handle = self._open(path)
        if isinstance(handle, str):
            return handle
        try:
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def read(self, path: str, most: int) -> bytes | str:
        """The file's bytes, or what is wrong with it; never more than `most` and one."""
        handle = self._open(path)
        if isinstance(handle, str):
            return handle
        try:
            with os.fdopen(handle, "rb") as file:
                return file.read(most + 1)
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _open(self, path: str) -> int | str:
        """A descriptor of a regular file; each folder is opened from the one before, and no link is followed."""
        parts = path.split("/")
        if "\0" in path or any(part in ("", ".", "..") for part in parts):
            return "does not stand below --attachments: its path has an empty part, . or .."
        *folders, name = parts
        handle = self._handle
        try:
            for folder in folders:
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
                if handle != self._handle:
                    os.close(handle)
                handle = inner
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
        except OSError as error:
            linked = error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(handle, parts)
            return LINKED if linked else f"cannot be read: {error.strerror}"
        except UnicodeEncodeError:
            return "has a name that no file can have"
        finally:
            if handle != self._handle:
                os.close(handle)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            return "is not a regular file"
        return found


def _is_link(handle: int, parts: Sequence[str]) -> bool:
    for part in parts:
        try:
            if stat.S_ISLNK(os.lstat(part, dir_fd=handle).st_mode):
                return True
        except OSError:
            continue
    return False


class AttachedFiles:
    """The files of one job, which are read when it starts."""

    def __init__(self, folder: AttachmentFolder | None, places: Sequence[Place]) -> None:
        self._folder = folder
        self.places = places

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the files as they are now; nothing of them is read."""
        assert self._folder is not None  # noqa: S101 - a mapping with files has a folder
        sizes = [self._folder.size_of(place.path) for place in self.places]
        told = [self._told(number, size) for number, size in enumerate(sizes) if isinstance(size, str)]
        total = sum(size for size in sizes if isinstance(size, int))
        return tuple(told) if told or total < MOST_BYTES else (_too_large(total),)

    def read_into(self, body: bytes) -> bytes | Problem:
        """The body with the files in it, in base64; or why it cannot be made."""
        assert self._folder is not None  # noqa: S101 - see above
        pieces, end, total = [], 0, 0
        for number, place in enumerate(self.places):
            content = self._folder.read(place.path, MOST_BYTES)
            if isinstance(content, str):
                return self._told(number, content)
            total += len(content)
            if total >= MOST_BYTES:
                return _too_large(total)
            pieces += [body[end : place.start], b64encode(content)]
            end = place.end
        return b"".join([*pieces, body[end:]])

    def _told(self, number: int, reason: str) -> Problem:
        field = f"{FIELD}[{number}]"
        return Problem("bad_attachment", field, f"the file of {field} {reason}", self.places[number].column)


def _too_large(total: int) -> Problem:
    told = f"{total:,} bytes" if total <= MOST_BYTES else f"more than {MOST_BYTES:,} bytes"
    return Problem("attachments_too_large", FIELD, f"the attachments are {told}; the API takes less than 2 MB")
