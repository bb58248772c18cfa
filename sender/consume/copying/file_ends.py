"""Files as ends of a copy: a FileSource notes up to which line it was copied, a FileTarget what its last lines are."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sender.consume.copying.copies import Copy
from sender.consume.copying.copy_note import CopyNote, sync_folder
from sender.errors import OutputError, UsageError
from sender.inputs.input_options import InputOptions
from sender.inputs.inputs import open_inputs
from sender.queues.message_identity import CONTENT
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.inputs import Inputs
    from sender.jobs.job import Line

BATCH: Final = 500
BATCH_BYTES: Final = 8 * 2**20
REMEMBERED: Final = 4 * BATCH
"""Places of the last copies: those that a queue may give out again."""
STDOUT: Final = "-"


class FileSource:
    """The job lines of a file, or the rows of a table by a mapping; it stays as it is. Of stdin, without a note."""

    def __init__(self, name: str, target: str, mapping: str = "") -> None:
        self.left = 0
        self._name = name
        digest = hashlib.sha256(target.encode()).hexdigest()[:8]
        self._note = None if name == STDOUT else CopyNote(Path(f"{name}.copied-{digest}.json"))
        self._target = target
        self._options = InputOptions(map=mapping)
        self._inputs: Inputs | None = None
        self._lines: Iterator[Line] = iter(())
        self._next: Line | None = None
        self._parser = Parser()

    async def open(self) -> None:
        """See `CopySource.open`."""
        copied = int(self._note.read().get("line", 0)) if self._note is not None else 0
        self._inputs = await asyncio.to_thread(open_inputs, [self._name], self._options)
        self._lines = (line for one in self._inputs.files for line in one.lines() if line.number > copied)

    async def read(self) -> Sequence[Copy]:
        """See `CopySource.read`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[Copy]:
        found: list[Copy] = []
        size = 0
        for line in self._lines:
            if line.fault is not None or (line.row is not None and (line.row.problems or line.row.files)):
                self.left += 1
                continue
            # A line that names no id is known by what it asks for, in a queue as in the file.
            identity = None if self._parser.key_of(line.data) else CONTENT
            found.append(Copy(line.data, f"{self._name}:{line.number}", identity, line.number))
            size += len(line.data)
            if len(found) >= BATCH or size >= BATCH_BYTES:
                break
        return found

    async def done(self, copies: Sequence[Copy]) -> None:
        """See `CopySource.done`."""
        if self._note is not None:
            note = {"to": self._target, "line": copies[-1].handle}
            await asyncio.to_thread(self._note.write, note)

    async def aclose(self) -> None:
        """See `CopySource.aclose`."""
        if self._inputs is not None:
            await self._inputs.aclose()


class FileTarget:
    """A new file, or one that an earlier run of the same copy began; made with mode 0600."""

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self._note = CopyNote(Path(f"{name}.copied.json"))
        self._handle = -1
        self._size = 0
        self._known: dict[str, None] = {}

    async def open(self) -> None:
        """See `CopyTarget.open`. A torn end is cut off: it was not yet said to be there."""
        note = self._note.read()
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another run copies to {self._path} now") from None
        self._size = os.fstat(self._handle).st_size
        if not note and self._size:
            raise UsageError(f"{self._path} is there already, and no copy began it; name another file")
        before, after = int(note.get("before", 0)), int(note.get("after", 0))
        if self._size not in range(before, after + 1):
            raise UsageError(f"{self._path} was changed since a copy began it; name another file")
        places = list(note.get("places", ()))
        if self._size < after:
            os.ftruncate(self._handle, before)
            self._size, places = before, places[: len(places) - int(note.get("number", 0))]
        self._known = dict.fromkeys(places)

    async def put(self, copies: Sequence[Copy]) -> int:
        """See `CopyTarget.put`."""
        new = [one for one in copies if one.place not in self._known]
        if new:
            await asyncio.to_thread(self._append, new)
        return len(copies) - len(new)

    def _append(self, new: Sequence[Copy]) -> None:
        """First the note of what will be there, then that."""
        data = b"".join(one.line.replace(b"\n", b" ") + b"\n" for one in new)
        self._known.update(dict.fromkeys(one.place for one in new))
        self._known = dict.fromkeys(islice(self._known, max(0, len(self._known) - REMEMBERED), None))
        self._note.write({
            "before": self._size, "after": self._size + len(data), "number": len(new), "places": list(self._known),
        })
        try:
            _write_at(self._handle, data, self._size)
            os.fsync(self._handle)
            sync_folder(self._path)
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from None
        self._size += len(data)

    async def aclose(self) -> None:
        """See `CopyTarget.aclose`."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class StdoutTarget:
    """For a pipe: what it was given, it has."""

    async def open(self) -> None:
        """It is."""

    async def put(self, copies: Sequence[Copy]) -> int:
        """See `CopyTarget.put`."""
        out: Any = sys.stdout.buffer
        out.write(b"".join(one.line.replace(b"\n", b" ") + b"\n" for one in copies))
        out.flush()
        return 0

    async def aclose(self) -> None:
        """It stays open."""


def _write_at(handle: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, place)
        view, place = view[written:], place + written
