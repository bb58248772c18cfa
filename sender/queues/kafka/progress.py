"""PartitionProgress: which messages of one Kafka partition have no end yet, and how often each was given out. Pure.

Kafka knows one offset for a group and partition: what stands before it is done. Jobs end out of order, so what is done
behind the first unfinished one, and how often the others were given out, is kept in the metadata of the committed
offset: whoever reads the partition next goes on with the same gaps.

    base                                    next
     |  open  |  done  |  done  |  open  |   |  not read yet
"""

from __future__ import annotations

import base64
import zlib
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST: Final = 4000
"""Characters of metadata; brokers take 4,096 unless told otherwise (`offset.metadata.max.bytes`)."""
MARK: Final = "s2:"
"""How metadata of this form begins: then come the topic's id, a colon, and the packed runs. Anything else is another
program's, and means nothing."""
MARK_WITHOUT_TOPIC: Final = "s1:"
"""How metadata of the form before begins, which has no id."""
LARGEST: Final = 1 << 20
"""Bytes that metadata unpack to at most, and messages without an end that they may tell of."""
FURTHEST: Final = 1 << 62
GIVEN_ONCE: Final = 2
"""The value of a run, see `_runs`."""

Run = tuple[int, int]
"""(value, length): 0 is done, n + 1 is unfinished and was given out n times."""


class PartitionProgress:
    """Of one partition, from the first offset without an end on; `base` and offsets are those of Kafka."""

    def __init__(self, base: int) -> None:
        self.next = base
        """The first offset that was not read yet."""
        self._open: dict[int, int] = {}
        """Offset to deliveries of what was read and has no end, in the order of offsets."""
        self._given_at: dict[int, float] = {}
        """Unix seconds at which these were given out first."""
        self._inherited: deque[int] = deque()
        """Offsets that an earlier reader left without an end, and that were not read again yet."""
        self._inherited_at: float | None = None

    @classmethod
    def decode(cls, base: int, metadata: str | None) -> Self:
        """What was committed; without metadata of ours nothing behind the offset was read."""
        found = cls(base)
        runs = _read(metadata or "")
        if runs:
            found._inherited_at = float(runs[0][0]) or None
            for value, length in runs[1:]:
                if value:
                    found._open.update(dict.fromkeys(range(found.next, found.next + length), value - 1))
                found.next += length
            found._inherited.extend(found._open)
        return found

    def encode(self, topic: str = "", most: int = MOST) -> str:
        """Metadata for a commit of `base` in the topic of this id.

        Where the gaps do not fit, those at the end are forgotten: messages that are done come again, as delivered once,
        and the ledger knows them.
        """
        runs = list(self._runs())
        since = (int(self.given_since or 0), 0)
        text = _written(topic, [since, *runs])
        kept = len(runs)
        while len(text) > most:
            kept //= 2
            rest = sum(length for _, length in runs[kept:])
            text = _written(topic, [since, *runs[:kept], (GIVEN_ONCE, rest)])
        return text

    @property
    def base(self) -> int:
        """The first offset without an end: what is committed."""
        return next(iter(self._open), self.next)

    @property
    def unfinished(self) -> int:
        """How many messages were read and have no end."""
        return len(self._open)

    @property
    def given_since(self) -> float | None:
        """Unix seconds since when a message without an end was given out; None when there is none."""
        times = chain(self._given_at.values(), [self._inherited_at] if self._has_inherited() else [])
        return min((one for one in times if one), default=None)

    def see(self, offset: int) -> bool:
        """This message was read; returns whether it has no end yet.

        What lies between it and the message before is no message: deleted, compacted, or a transaction's mark.
        """
        self._drop_inherited(offset)
        if offset >= self.next:
            self._open[offset] = 0
            self.next = offset + 1
        return offset in self._open

    def reach(self, offset: int) -> None:
        """The partition ends before this offset for now."""
        self._drop_inherited(offset)
        self.next = max(self.next, offset)

    def give(self, offset: int, now: float) -> int:
        """It is given out for work at these unix seconds; returns how often it was by now."""
        self._open[offset] += 1
        self._given_at.setdefault(offset, now)
        return self._open[offset]

    def give_back(self, offset: int) -> bool:
        """It was not started, so this time does not count; returns whether it waits again."""
        if self._open.get(offset, 0) < 1:
            return False
        self._open[offset] -= 1
        if not self._open[offset]:
            self._given_at.pop(offset, None)
        return True

    def finish(self, offset: int) -> None:
        """It has an end; saying it twice does no harm."""
        self._open.pop(offset, None)
        self._given_at.pop(offset, None)

    def _has_inherited(self) -> bool:
        return any(self._open.get(offset) for offset in self._inherited)

    def _drop_inherited(self, offset: int) -> None:
        """What an earlier reader left before this offset, and was not read now, is there no more."""
        while self._inherited and self._inherited[0] <= offset:
            first = self._inherited.popleft()
            if first < offset:
                self._open.pop(first, None)
            elif self._inherited_at and self._open.get(first):
                self._given_at[first] = self._inherited_at

    def _runs(self) -> Iterator[Run]:
        """From `base` to `next`: neighbours that are the same make one run."""
        value, length, at = 0, 0, self.base
        for offset, deliveries in self._open.items():
            if offset > at:
                if length:
                    yield value, length
                yield 0, offset - at
                length = 0
            elif length and deliveries + 1 != value:
                yield value, length
                length = 0
            value, length, at = deliveries + 1, length + 1, offset + 1
        if length:
            yield value, length
        if self.next > at:
            yield 0, self.next - at


def is_of_another(metadata: str | None, topic: str) -> bool:
    """Whether a commit with these metadata was surely made for another topic of this one's name, by their ids."""
    found = _parts(metadata or "")[1]
    return bool(found and topic) and found != topic


def _parts(metadata: str) -> tuple[str, str, str]:
    """(mark, topic's id, packed runs)."""
    mark, rest = metadata[: len(MARK)], metadata[len(MARK) :]
    topic, colon, packed = rest.partition(":")
    return (mark, topic, packed) if mark == MARK and colon else (mark, "", rest)


def _written(topic: str, runs: Iterable[Run]) -> str:
    packed = zlib.compress(b"".join(_varint(number) for run in runs for number in run), 6)
    return f"{MARK}{topic}:{base64.b85encode(packed).decode()}"


def _read(metadata: str) -> list[Run]:
    """Anyone may have written it: what cannot be read is nothing."""
    mark, _, packed = _parts(metadata)
    if mark not in (MARK, MARK_WITHOUT_TOPIC) or len(metadata) > 2 * MOST:
        return []
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b85decode(packed), LARGEST)
    except (ValueError, zlib.error):
        return []
    numbers = list(_numbers(data))
    if len(numbers) % 2 or unpacker.unconsumed_tail or sum(numbers) > FURTHEST:
        return []
    runs = list(zip(numbers[::2], numbers[1::2], strict=True))
    return runs if sum(length for value, length in runs[1:] if value) <= LARGEST else []


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0
