"""The outcome log: JSON Lines, append-only. After a crash at most its last line is torn.

See docs/delivery-semantics.md, "The outcome log".
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import orjson

from sender.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TAIL: Final = 1 << 20


class OutcomeLog:
    """One file that outcomes are appended to, by one run at a time."""

    NAME: ClassVar = "outcome log"
    LOSS: ClassVar = "nothing further was sent"
    """What follows when it cannot be written."""

    def __init__(self, path: Path, handle: int, *, regular: bool) -> None:
        self.path = path
        self._handle = handle
        self._regular = regular

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create (mode 0600) and repair a torn last line; UsageError when it cannot be written."""
        try:
            # A pipe whose reader pauses must not hold a thread that nobody can end: it is written by the loop.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise UsageError(f"the {cls.NAME} {path} cannot be opened: {error.strerror}") from None
        regular = stat.S_ISREG(os.fstat(handle).st_mode)
        try:
            if regular:
                _hold(handle, path, cls.NAME)
                _repair(handle)
        except BaseException:
            os.close(handle)
            raise
        return cls(path, handle, regular=regular)

    async def append(self, lines: Sequence[bytes]) -> None:
        """Durably add these lines; OutputError when they cannot all be written, and then none stays half-written."""
        try:
            if self._regular:
                await asyncio.to_thread(self._append, b"".join(lines))
            else:
                await self._stream(b"".join(lines))
        except OSError as error:
            raise OutputError(
                f"the {self.NAME} {self.path} cannot be written ({error.strerror}): {self.LOSS}. "
                "Make room, then run the same command again"
            ) from None

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._handle).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._handle, view) :]
            os.fdatasync(self._handle)
        except OSError:
            with suppress(OSError):  # on a disk that takes nothing, not even this: the next run repairs the line
                os.ftruncate(self._handle, size)
            raise

    async def _stream(self, data: bytes) -> None:
        """Write to a pipe or terminal as it takes the bytes."""
        loop, view = asyncio.get_running_loop(), memoryview(data)
        while view:
            try:
                view = view[os.write(self._handle, view) :]
            except BlockingIOError:
                ready = asyncio.Event()
                loop.add_writer(self._handle, ready.set)
                try:
                    await ready.wait()
                finally:
                    loop.remove_writer(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)


def read_outcomes(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a log as a dict; a torn last line is passed over."""
    with path.open("rb") as log:
        for line in log:
            if line.endswith(b"\n"):
                yield orjson.loads(line)


def _hold(handle: int, path: Path, name: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"the {name} {path} is in use by another run: wait for its end") from None


def _repair(handle: int) -> None:
    """Cut off what a crash left of a last line; a whole one that only lacks its end gets it."""
    size = os.fstat(handle).st_size
    start = size
    tail = b""
    while start > 0 and b"\n" not in tail:
        step = min(TAIL, start)
        start -= step
        tail = os.pread(handle, step, start) + tail
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn:
        return
    try:
        orjson.loads(torn)
    except orjson.JSONDecodeError:
        os.ftruncate(handle, size - len(torn))
    else:
        os.write(handle, b"\n")
