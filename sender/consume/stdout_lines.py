"""The StdoutLines of a consumer: outcome lines on stdout, written by a thread that nobody has to wait for.

Whoever reads the pipe may stop: then a write hangs for ever, and no executor's thread could be ended before it. A line
that is cut off by the end of the process stands in the ledger's outbox, and comes again whole.
"""

from __future__ import annotations

import asyncio
import os
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

from sender.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

STDOUT: Final = 1


class StdoutLines:
    """Lines in order, whole ones only."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        self._thread: Thread | None = None

    async def append(self, lines: Sequence[bytes]) -> None:
        """Return when they are written; OutputError when nobody can read them."""
        if self._thread is None:
            self._thread = Thread(target=self._write_all, name="outcomes on stdout", daemon=True)
            self._thread.start()
        written = self._loop.create_future()
        self._waiting.put((b"".join(lines), written))
        await written

    def _write_all(self) -> None:
        while True:
            data, written = self._waiting.get()
            try:
                _write(data)
            except OSError as error:
                self._tell(written, OutputError(f"outcomes cannot be written to stdout ({error.strerror})"))
            else:
                self._tell(written, None)

    def _tell(self, written: asyncio.Future[None], error: OutputError | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_end, written, error)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(STDOUT, view) :]


def _end(written: asyncio.Future[None], error: OutputError | None) -> None:
    if written.done():
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
