"""Regular files, plain or compressed: each lane reads on by its own place, so a full lane never holds another."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Final

from sender.inputs.block_lanes import BlockLanes
from sender.inputs.blocks import BlockReader
from sender.inputs.chunks import Place, Plain
from sender.inputs.compression import decompressed
from sender.inputs.line_batch import LineBatch
from sender.inputs.lines import LineCutter
from sender.inputs.sent_lines import NOTHING
from sender.inputs.spool import spool
from sender.jobs.job import MOST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.inputs import LaneOf
    from sender.inputs.blocks import Block
    from sender.inputs.chunks import ChunkReader
    from sender.inputs.sent_lines import SentLines
    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName

CHUNK: Final = 1 << 18
PAUSE: Final = 0.002
"""Seconds between chunks that hold nothing for a lane: it must not disturb the pace of the others."""


class InputFile:
    """One opened file; readers share its descriptor and keep their own places."""

    def __init__(self, name: str, handle: int, compression: str | None = None, *, most_line: int = MOST_LINE,
        version: str | None = None,
    ) -> None:
        self.name = name
        self.version = version
        """The ETag of an object from elsewhere."""
        self._handle = handle
        self._start = os.lseek(handle, 0, os.SEEK_CUR)  # a shell may have read some of its stdin before us
        self._compression = compression
        self._most_line = most_line
        self.lanes = BlockLanes(most_line)

    def chunks(self, size: int = CHUNK) -> ChunkReader:
        """A reader of its own from the file's beginning, which gives so many bytes at a time."""
        raw = Place(self._handle, self._start)
        if self._compression is None:
            return Plain(raw, self.name, size)
        return decompressed(raw, self.name, self._compression, size)

    def handle(self) -> int:
        """A descriptor of the plain file, for who reads at any place; the caller closes it."""
        if self._compression is None and not self._start:
            return os.dup(self._handle)
        return spool(self.name, iter(self.chunks().read, b""))

    def lines(self) -> Iterator[Line]:
        """All lines, for those who need no lanes; raises InputError where the file breaks."""
        reader, cutter = self.chunks(), self.cutter()
        while chunk := reader.read():
            yield from cutter.cut(chunk)
        yield from cutter.finish()

    def batches(self) -> Iterator[LineBatch]:
        """The same block by block; lines that are no part of one are cut already."""
        blocks, cutter = BlockReader(self.chunks()), self.cutter()
        while (block := blocks.read()).data:
            if block.whole:
                yield LineBatch(self.name, cutter.number + 1, block.data)
                cutter.skip(block.data, 0)
            elif lines := cutter.cut(block.data):
                yield LineBatch(self.name, cut_lines=tuple(lines))
        if lines := cutter.finish():
            yield LineBatch(self.name, cut_lines=tuple(lines))

    def line_at(self, number: int) -> Line | None:
        """The line of this number, None where there is none."""
        return next((line for line in self.lines() if line.number == number), None)

    def cutter(self, wanted: Callable[[bytes], bool] | None = None) -> LineCutter:
        """A line cutter for one reader; see `LineCutter` for `wanted`."""
        return LineCutter(self.name, self._most_line, wanted)

    def close(self) -> None:
        """Close the descriptor; nothing happens the second time."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


class FileFeed:
    """The lines of one lane in one file."""

    def __init__(self, file: InputFile, lane: LaneName, lane_of: LaneOf, sent: SentLines | None = None) -> None:
        self._name = file.name
        self._lane = lane
        self._lane_of = lane_of
        self._lanes = file.lanes
        self._blocks = BlockReader(file.chunks())
        self._cutter = file.cutter(self._is_mine)
        self._sent = sent
        self._notes = lane == "send"
        """Whether what ends is noted: of the other lanes' lines nothing is."""
        self._ready: deque[Line] = deque()
        self._ended = False
        self._stopped = False

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`."""
        while not self._ready and not self._ended and not self._stopped:
            found = await (asyncio.to_thread(self._scan) if self._sent is None else self._scan_unsent(self._sent))
            self._ready.extend(found)
            if not found:
                await asyncio.sleep(PAUSE)
        return [] if self._stopped else take(self._ready, most, most_bytes)

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopped = True

    def _is_mine(self, data: bytes) -> bool:
        return self._lane_of(data) == self._lane

    def _scan(self) -> list[Line]:
        block = self._blocks.read()
        self._ended = not block.data
        return self._cutter.finish() if self._ended else self._cut(block)

    def _cut(self, block: Block, sent: int = 0) -> list[Line]:
        """This lane's lines, without those that were `sent`; a block of other lanes' lines is not cut."""
        cutter = self._cutter
        if not block.whole:
            cutter.wanted = self._is_mine
            return cutter.cut(block.data, sent)
        lanes = self._lanes.of(block.data, cutter.number + 1, self._lane_of)
        if self._lane not in lanes:
            return cutter.skip(block.data, 0)
        cutter.wanted = self._is_mine if len(lanes) > 1 else None
        return cutter.cut(block.data, sent)

    async def _scan_unsent(self, sent: SentLines) -> list[Line]:
        """The same without the lines that an earlier run is known to have sent."""
        first = self._cutter.number + 1
        block, digest = await asyncio.to_thread(self._read_block, sent, first)
        self._ended = not block.data
        if self._ended:
            return self._cutter.finish()
        known = await sent.find(digest) if block.whole else NOTHING
        if known.left == 0:
            found = self._cutter.skip(block.data, known.lines.bit_count())
        else:
            if block.whole and self._notes:
                await sent.begin(self._name, first, block.data, known)
            found = await asyncio.to_thread(self._cut, block, known.lines)
        return found if self._notes else [line for line in found if not line.passed]

    def _read_block(self, sent: SentLines, first: int) -> tuple[Block, bytes]:
        block = self._blocks.read()
        return block, sent.digest(block.data, first) if block.whole else b""


def take(ready: deque[Line], most: int, most_bytes: int) -> list[Line]:
    """The first lines, at least one if there is any, within the bounds."""
    taken: list[Line] = []
    size = 0
    while ready and len(taken) < most and (not taken or size + len(ready[0].data) <= most_bytes):
        line = ready.popleft()
        size += len(line.data)
        taken.append(line)
    return taken
