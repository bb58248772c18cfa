"""Regular files, plain or gzip: each lane reads on by its own place, so a full lane never holds another."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import zlib
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sender.errors import InputError
from sender.inputs.lines import MOST_LINE, LineCutter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.inputs import LaneOf
    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName

CHUNK: Final = 1 << 18
PAUSE: Final = 0.002
"""Seconds between chunks that hold nothing for a lane: it must not disturb the pace of the others."""


class InputFile:
    """One opened file; readers share its descriptor and keep their own places."""

    def __init__(self, name: str, handle: int, compression: str | None = None, *, most_line: int = MOST_LINE) -> None:
        self.name = name
        self._handle = handle
        self._start = os.lseek(handle, 0, os.SEEK_CUR)  # a shell may have read some of its stdin before us
        self._compression = compression
        self._most_line = most_line

    def chunks(self) -> ChunkReader:
        """A reader of its own from the file's beginning."""
        raw = _Place(self._handle, self._start)
        return _Gzip(raw, self.name) if self._compression else _Plain(raw, self.name)

    def lines(self) -> Iterator[Line]:
        """All lines, for those who need no lanes; raises InputError where the file breaks."""
        reader, cutter = self.chunks(), self.cutter()
        while chunk := reader.read():
            yield from cutter.cut(chunk)
        yield from cutter.finish()

    def cutter(self, wanted: Callable[[bytes], bool] | None = None) -> LineCutter:
        """A line cutter for one reader; see `LineCutter` for `wanted`."""
        return LineCutter(self.name, self._most_line, wanted)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._handle)


class FileFeed:
    """The lines of one lane in one file."""

    def __init__(self, file: InputFile, lane: LaneName, lane_of: LaneOf) -> None:
        self._reader = file.chunks()
        self._cutter = file.cutter(lambda data: lane_of(data) == lane)
        self._ready: deque[Line] = deque()
        self._ended = False
        self._stopped = False

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`."""
        while not self._ready and not self._ended and not self._stopped:
            found = await asyncio.to_thread(self._scan)
            self._ready.extend(found)
            if not found:
                await asyncio.sleep(PAUSE)
        return [] if self._stopped else take(self._ready, most, most_bytes)

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopped = True

    def _scan(self) -> list[Line]:
        chunk = self._reader.read()
        self._ended = not chunk
        return self._cutter.cut(chunk) if chunk else self._cutter.finish()


def take(ready: deque[Line], most: int, most_bytes: int) -> list[Line]:
    """The first lines, at least one if there is any, within the bounds."""
    taken: list[Line] = []
    size = 0
    while ready and len(taken) < most and (not taken or size + len(ready[0].data) <= most_bytes):
        line = ready.popleft()
        size += len(line.data)
        taken.append(line)
    return taken


class ChunkReader(Protocol):
    """Reads a file piece by piece."""

    def read(self) -> bytes:
        """The next piece, empty at the end; raises InputError."""


class _Place(io.RawIOBase):
    """A place of its own in a shared descriptor."""

    def __init__(self, handle: int, start: int) -> None:
        self._handle = handle
        self.place = start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = os.pread(self._handle, len(buffer), self.place)
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


class _Plain:
    def __init__(self, raw: _Place, name: str) -> None:
        self._raw = raw
        self._name = name

    def read(self) -> bytes:
        try:
            return self._raw.read(CHUNK) or b""
        except OSError as error:
            raise InputError(f"{self._name} broke while it was read: {error.strerror}") from None


class _Gzip:
    def __init__(self, raw: _Place, name: str) -> None:
        self._raw = raw
        self._name = name
        self._gzip = gzip.GzipFile(fileobj=raw, mode="rb")

    def read(self) -> bytes:
        try:
            return self._gzip.read1(CHUNK)
        except (EOFError, OSError, zlib.error) as error:
            kind = "is cut off" if isinstance(error, EOFError) else "is damaged"
            raise InputError(
                f"{self._name} {kind}: what was read of it stands; get the whole file and run again"
            ) from None
