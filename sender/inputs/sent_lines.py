"""SentLines: which lines of a file's blocks stand as sent, so that a later run with the same bytes need not read them.

A block is known by a hash of its bytes, of the number of its first line and of all that decides what is made of a line.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from sender.jobs.sent_block import SentBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_OPEN: Final = 16
"""Blocks whose lines have not all ended; what ends later in an older one is read anew by the next run."""
TOGETHER: Final = 8
"""Blocks that are noted in one go."""


NOTHING: Final = SentBlock(b"", 0, -1)


class BlockMemory(Protocol):
    """Keeps blocks from one run to the next; a ledger is one."""

    async def sent_block(self, digest: bytes) -> SentBlock | None:
        """What earlier runs noted of a block; this run's own notes are left out."""

    async def put_sent_blocks(self, blocks: Sequence[SentBlock]) -> None:
        """Note these; of a block that was noted before, the note that leaves fewer lines."""


@dataclass(slots=True)
class _Open:
    """A block whose lines are under way."""

    known: SentBlock
    first: int
    """Number of its first line."""
    lines: int
    filled: int
    """Those that are not blank."""
    sent: int
    followed: int = 0
    """The lines whose jobs were started, as in `SentBlock.lines`."""

    def note(self) -> SentBlock | None:
        """What is to be noted; None where no line was added."""
        left = self.filled - self.sent.bit_count()
        if not self.sent or (self.known.left >= 0 and left >= self.known.left):
            return None
        return SentBlock(self.known.digest, self.sent, left)


class SentLines:
    """Those of one run: what was noted before, and what is to be noted."""

    def __init__(self, memory: BlockMemory, judged_by: str, passed_over: Callable[[int], None]) -> None:
        """`judged_by` names all that decides what is made of a line beside its bytes.

        `passed_over` is told how many lines were passed over, in their place among the others.
        """
        self.passed_over = passed_over
        self._memory = memory
        self._salt = judged_by.encode()
        self._open: dict[str, deque[_Open]] = {}
        """By source, in the order of their lines."""
        self._unsure: set[str] = set()
        """Sources that are read twice: a number stands for two lines."""
        self._notes: list[SentBlock] = []

    def digest(self, data: bytes, first: int) -> bytes:
        """Who a block is; `first` is the number of its first line."""
        made = blake2b(b"%d:%b%d:" % (len(self._salt), self._salt, first), digest_size=16)
        made.update(data)
        return made.digest()

    async def find(self, digest: bytes) -> SentBlock:
        """What is known of a block; `left` is below zero where that is nothing."""
        return await self._memory.sent_block(digest) or SentBlock(digest, 0, -1)

    async def begin(self, source: str, first: int, data: bytes, known: SentBlock) -> None:
        """The lines of this block are given out, but for those that are known."""
        lines = data.split(b"\n")
        blocks = self._open.setdefault(source, deque())
        if source in self._unsure or (blocks and blocks[-1].first >= first):
            self._unsure.add(source)
            blocks.clear()
            return
        blocks.append(_Open(known, first, len(lines), sum(map(bool, map(bytes.strip, lines))), known.lines))
        if len(blocks) > MOST_OPEN:
            self._end(blocks.popleft())
        if len(self._notes) >= TOGETHER:
            await self._put()

    def follow(self, source: str, line: int) -> None:
        """A job was started, whose line may be passed over once it stands as sent."""
        if (block := self._block(source, line)) is not None:
            block.followed |= 1 << line - block.first

    def ended(self, source: str, line: int) -> None:
        """The job of a line stands as sent, durably."""
        block = self._block(source, line)
        if block is not None and block.followed >> line - block.first & 1:
            block.sent |= 1 << line - block.first

    def known(self, source: str, line: int) -> None:
        """The job of a line was sent by an earlier run, and the line may be passed over."""
        if (block := self._block(source, line)) is not None:
            block.sent |= 1 << line - block.first

    async def close(self) -> None:
        """Note what is left."""
        for blocks in self._open.values():
            for block in blocks:
                self._end(block)
        self._open.clear()
        await self._put()

    def _block(self, source: str, line: int) -> _Open | None:
        """The block that a line stands in; mostly one of the last."""
        for block in reversed(self._open.get(source, ())):
            if block.first <= line:
                return block if line < block.first + block.lines else None
        return None

    def _end(self, block: _Open) -> None:
        if (note := block.note()) is not None:
            self._notes.append(note)

    async def _put(self) -> None:
        notes, self._notes = self._notes, []
        if notes:
            await self._memory.put_sent_blocks(notes)
