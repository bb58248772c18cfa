"""Streams (stdin, FIFOs): one reader, whose lines are put into a queue for each lane.

The reader goes on only while a lane that gets lines is hungry, and a full lane's lines then go to an unlinked private
file: a slow lane never holds another, and memory stays bounded. A stream of sends alone is read no further ahead than
their lane needs, and nothing of it is ever spilled.
"""

from __future__ import annotations

import asyncio
import os
import select
import struct
import tempfile
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Final

import structlog

from sender.errors import InputError, UsageError
from sender.inputs.files import take
from sender.inputs.line_batch import LineBatch
from sender.inputs.lines import LineCutter
from sender.jobs.job import MOST_LINE, Line
from sender.jobs.kinds import LANES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.inputs import LaneOf
    from sender.jobs.kinds import LaneName

CHUNK: Final = 1 << 16
MOST_LINES: Final = 20_000
"""Lines that wait in memory for a lane: more than a chunk has, so that a stream read on demand is never spilled."""
MOST_BYTES: Final = 4 << 20
PAUSE: Final = 0.005
"""Seconds between chunks that only fill the disk: the pace of the lanes at work comes first."""
MOST_OVERFLOW: Final = 1 << 30
"""Bytes on disk over all lanes; beyond it the reader waits for the full lane after all."""
FORGET_AFTER: Final = 64 << 20
"""Bytes of other lanes' lines after which a lane is taken to get no more: nobody reads ahead for it any longer."""
log = structlog.get_logger()

_HEAD: Final = struct.Struct("<QI")


class StreamInput:
    """One stream, read by a thread of its own so that neither the loop nor the end of the process waits for it.

    Without a `handle` it is opened by that thread, too: a FIFO opens only once somebody writes.
    """

    def __init__(self, name: str, handle: int | None, *, most_line: int = MOST_LINE) -> None:
        self.name = name
        self._handle = handle
        self._cutter = LineCutter(name, most_line)
        self._queues = {lane: LaneBuffer(name) for lane in LANES}
        self._hungry: dict[LaneName, asyncio.Event] = {}
        self._fed_at: dict[LaneName, int] = {}
        """Bytes read when the lane got its last line; lanes that get none are left out."""
        self._bytes = 0
        self._lane_of: LaneOf | None = None
        self._pump: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._ended = False
        self._stopped = False
        self._error: Exception | None = None
        self._started = False

    def use(self, lane_of: LaneOf) -> None:
        """Say how lines are told apart; before the first `read`."""
        self._lane_of = lane_of

    async def read(self, lane: LaneName, most: int, most_bytes: int) -> Sequence[Line]:
        """The lane's next lines; empty at the end."""
        queue = self._queues[lane]
        while not queue and not self._ended and not self._stopped:
            await self._wait_for_more(lane)
        if self._stopped:
            return []
        if not queue and self._error is not None:
            raise self._error
        return queue.take(most, most_bytes)

    def lines(self) -> Iterator[Line]:
        """All lines, for those who need no lanes and may block."""
        for batch in self.batches():
            yield from batch.cut_lines

    def batches(self) -> Iterator[LineBatch]:
        """The same as they come; one without lines where there are none for the moment, before it waits for them."""
        started, waiting = False, select.poll()
        while chunk := self._read_chunk():
            if not started and chunk.strip():
                started = True
                refuse_array(self.name, chunk)
            if self._handle is not None:
                waiting.register(self._handle, select.POLLIN)
            yield LineBatch(self.name, cut_lines=tuple(self._cutter.cut(chunk)))
            if not waiting.poll(0):
                yield LineBatch(self.name)
        yield LineBatch(self.name, cut_lines=tuple(self._cutter.finish()))

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True
        if self._pump is not None:
            self._pump.cancel()
        self._wake_all()

    def close(self) -> None:
        """Let go of the spilled lines; the stream itself belongs to whoever opened it."""
        self.stop()
        for queue in self._queues.values():
            queue.close()

    def _read_chunk(self) -> bytes:
        if self._handle is None:
            self._handle = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        return os.read(self._handle, CHUNK)

    async def _wait_for_more(self, lane: LaneName) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name=f"reader of {self.name}")
        waiting = self._hungry[lane] = asyncio.Event()
        self._wanted.set()
        try:
            await waiting.wait()
        finally:
            self._hungry.pop(lane, None)

    async def _run(self) -> None:
        try:
            while not self._ended:
                while not self._must_read():
                    self._wanted.clear()
                    await self._wanted.wait()
                chunk = await self._next_chunk()
                self._bytes += len(chunk)
                fed = self._route(self._cutter.cut(chunk) if chunk else self._cutter.finish())
                self._ended = not chunk
                await self._hold_back(fed)
        except Exception as error:  # noqa: BLE001 - whoever waits for a line is told of it
            self._error = error
            self._ended = True
        finally:
            if self._ended:
                self._wake_all()

    def _must_read(self) -> bool:
        """Whether a lane waits for lines that may come; behind lines of slow lanes the sends are looked for."""
        for lane in self._hungry:
            fed_at = self._fed_at.get(lane)
            if fed_at is not None and self._bytes - fed_at < FORGET_AFTER:
                return True
        return bool(self._hungry) and (not self._fed_at or ("send" not in self._fed_at and "send" in self._hungry))

    async def _next_chunk(self) -> bytes:
        chunk = await _read_in_thread(self._read_chunk, self.name)
        if not self._started and chunk.strip():
            self._started = True
            refuse_array(self.name, chunk)
        return chunk

    async def _hold_back(self, fed: bool) -> None:
        """Read on slowly while nobody who is hungry gets anything, and not at all when the disk's share is full."""
        if not fed and self._spilled:
            await asyncio.sleep(PAUSE)
        while self._spilled > MOST_OVERFLOW or any(queue.disk_full for queue in self._queues.values()):  # noqa: ASYNC110 - whoever takes a line need not know of the disk's share
            await asyncio.sleep(10 * PAUSE)

    @property
    def unread(self) -> int:
        """Lines that came in and nobody has taken."""
        return sum(map(len, self._queues.values()))

    @property
    def _spilled(self) -> int:
        return sum(queue.spilled for queue in self._queues.values())

    def _route(self, lines: list[Line]) -> bool:
        """Put each line into its lane's queue; whether a hungry lane got one."""
        fed = False
        assert self._lane_of is not None  # noqa: S101 - use() comes before read()
        for line in lines:
            lane = self._lane_of(line.data)
            self._fed_at[lane] = self._bytes
            self._queues[lane].put(line)
            waiting = self._hungry.pop(lane, None)
            if waiting is not None:
                fed = True
                waiting.set()
        return fed

    def _wake_all(self) -> None:
        for waiting in self._hungry.values():
            waiting.set()


class LaneBuffer:
    """First in, first out: a bounded part in memory, the rest in an unlinked file."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._ready: deque[Line] = deque()
        self._overdue: list[Line] = []
        """The rest of a chunk that the disk did not take, behind what is spilled."""
        self._size = 0
        self._file: IO[bytes] | None = None
        self._read_at = 0
        self._write_at = 0
        self._lines = 0
        self.disk_full = False
        """Whether a line could not be spilled: no more is read until this lane has taken what it has."""

    def __len__(self) -> int:
        return self._lines

    def __bool__(self) -> bool:
        return self._lines > 0

    @property
    def spilled(self) -> int:
        """Bytes that wait on disk."""
        return self._write_at - self._read_at

    def put(self, line: Line) -> None:
        """Add at the end."""
        self._lines += 1
        if self.disk_full:
            self._overdue.append(line)
        elif self.spilled or len(self._ready) >= MOST_LINES or self._size >= MOST_BYTES:
            self._spill(line)
        else:
            self._ready.append(line)
            self._size += len(line.data)

    def take(self, most: int, most_bytes: int) -> list[Line]:
        """The first lines, within the bounds."""
        if not self._ready:
            self._refill()
        taken = take(self._ready, most, most_bytes)
        self._lines -= len(taken)
        self._size -= sum(len(line.data) for line in taken)
        return taken

    def close(self) -> None:
        """Forget everything."""
        self._ready.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self, line: Line) -> None:
        # A line that was too long has no data and travels as an empty one; its fault is made again when it returns.
        record = _HEAD.pack(line.number, len(line.data)) + line.data
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the buffer
            written = os.pwrite(self._file.fileno(), record, self._write_at)
        except OSError:
            written = 0
        if written == len(record):
            self._write_at += written
            return
        log.warning(
            "lines that wait for a slow lane cannot be kept on disk; the input waits for that lane instead",
            input=self._source, hint="set TMPDIR to a folder with room",
        )
        self.disk_full = True
        self._overdue.append(line)

    def _refill(self) -> None:
        handle = -1 if self._file is None else self._file.fileno()
        while self.spilled and len(self._ready) < MOST_LINES and self._size < MOST_BYTES:
            number, length = _HEAD.unpack(os.pread(handle, _HEAD.size, self._read_at))
            data = os.pread(handle, length, self._read_at + _HEAD.size)
            self._read_at += _HEAD.size + length
            self._ready.append(Line(self._source, number, data) if data else _too_long(self._source, number))
            self._size += length
        if not self.spilled:
            if self._write_at:
                os.ftruncate(handle, 0)
            self._read_at = self._write_at = 0
            self._ready.extend(self._overdue)
            self._size += sum(len(line.data) for line in self._overdue)
            self._overdue.clear()
            self.disk_full = False


def refuse_array(name: str, first: bytes) -> None:
    """A JSON array is not JSON Lines."""
    if first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
        shown = "it" if name == "-" else name
        raise UsageError(f"{name} is a JSON array; write one object per line, for example: jq -c '.[]' {shown}")


def _too_long(source: str, number: int) -> Line:
    from sender.jobs.problem import Problem

    return Line(source, number, b"", Problem("line_too_long", None, "the line was too long; it was not read"))


async def _read_in_thread(read: Callable[[], bytes], name: str) -> bytes:
    """One blocking read in a daemon thread: a silent terminal must not hold the process at its end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def finish(data: bytes, error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(data)
        else:
            answer.set_exception(InputError(f"{name} broke while it was read: {error.strerror}"))

    def work() -> None:
        data, failure = b"", None
        try:
            data = read()
        except OSError as error:
            failure = error
        try:
            loop.call_soon_threadsafe(finish, data, failure)
        except RuntimeError:
            return  # the run has ended meanwhile

    threading.Thread(target=work, name="reader", daemon=True).start()
    return await answer
