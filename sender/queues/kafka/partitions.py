"""The Partitions that one member of a Kafka group reads: what waits to be given out, and what is in hand. Pure.

    stash --take--> in hand --finish--> done, and committed with all before it
      ^               |
      +---give back---+
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sender.queues.kafka.progress import PartitionProgress

WINDOW: Final = 100_000
"""Offsets from the first message without an end on; a partition is read no further before that has ended."""

MOST_ENDED: Final = 10_000
"""Messages whose end is kept in mind though their partition is another's."""

Handle = tuple[int, int]
"""(partition, offset)."""


class Record(NamedTuple):
    """One message of a partition."""

    offset: int
    partition: int
    key: bytes | None
    value: bytes
    size: int
    """Bytes of its value, of which `value` may be the beginning only."""
    headers: Mapping[str, bytes]

    @property
    def handle(self) -> Handle:
        """What it is known by while it is in hand."""
        return self.partition, self.offset


class Given(NamedTuple):
    """A record that is given out for work."""

    record: Record
    deliveries: int
    """How often by now."""


@dataclass(slots=True, eq=False)
class Partition:
    """One of them."""

    progress: PartitionProgress
    waiting: list[tuple[int, float, Record]] = field(default_factory=list)
    """(offset, not before this time, record), in the order of offsets."""
    in_hand: dict[int, Record] = field(default_factory=dict)
    held: tuple[int, float, Record] | None = None
    """As in `waiting`: the message whose time has not come, where messages are delayed. What is behind it is not read
    before."""

    @property
    def is_full(self) -> bool:
        """Whether jobs behind its first unfinished one are far enough ahead."""
        return self.progress.next - self.progress.base >= WINDOW

    def release_held(self, now: float = inf) -> None:
        """If its time has come at these unix seconds, it waits with the others."""
        if self.held is not None and self.held[1] <= now:
            insort(self.waiting, self.held)
            self.held = None


class Partitions:
    """All of them; `by_key` keeps the order of messages that have one key: one of them is in hand at a time."""

    def __init__(self, *, by_key: bool) -> None:
        self._by_key = by_key
        self.topic_id = ""
        """Of the topic that they are of, which is committed with what is done; empty where its cluster tells none."""
        self._all: dict[int, Partition] = {}
        self.changed: set[int] = set()
        """Those whose progress is to be committed."""
        self._ended: OrderedDict[Handle, None] = OrderedDict()
        """What ended while its partition was not ours, should it come back."""

    def __contains__(self, number: int) -> bool:
        return number in self._all

    def __getitem__(self, number: int) -> Partition:
        return self._all[number]

    @property
    def numbers(self) -> set[int]:
        """Those that are ours."""
        return set(self._all)

    def has_in_hand(self, handle: Handle) -> bool:
        """Whether this was given out, and has no end."""
        return handle[0] in self._all and handle[1] in self._all[handle[0]].in_hand

    @property
    def waiting(self) -> tuple[int, int]:
        """(number, bytes) of what waits to be given out."""
        records = [one[2] for partition in self._all.values() for one in partition.waiting]
        return len(records), sum(len(one.value) for one in records)

    @property
    def full(self) -> set[int]:
        """Those that are not to be read further now."""
        return {number for number, one in self._all.items() if one.is_full}

    def held(self, now: float) -> set[int]:
        """Those whose next message is not to be given out yet at these unix seconds."""
        return {number for number, one in self._all.items() if one.held is not None and one.held[1] > now}

    def add(self, number: int, progress: PartitionProgress) -> None:
        """It is ours from now on."""
        self._all[number] = Partition(progress)

    def drop(self, numbers: Iterable[int]) -> None:
        """They are ours no more."""
        for number in numbers:
            self._all.pop(number, None)
            self.changed.discard(number)

    def clear_waiting(self, numbers: Iterable[int]) -> None:
        """Of these nothing more is given out."""
        for number in numbers:
            if number in self._all:
                self._all[number].waiting.clear()
                self._all[number].held = None

    def in_hand(self, numbers: Iterable[int]) -> list[Handle]:
        """What is in hand of these."""
        return [(number, offset) for number in numbers if number in self._all for offset in self._all[number].in_hand]

    def stash(self, record: Record, not_before: float = 0.0) -> bool:
        """It was read; unless it has an end, it waits to be given out.

        Returns whether it is held until the unix seconds `not_before`.
        """
        partition = self._all.get(record.partition)
        if partition is None or not partition.progress.see(record.offset):
            return False
        if record.handle in self._ended:
            del self._ended[record.handle]
            self.finish([record.handle])
            return False
        partition.release_held()
        if not_before:
            partition.held = (record.offset, not_before, record)
        else:
            insort(partition.waiting, (record.offset, 0.0, record))
        return not_before > 0

    def reach(self, number: int, offset: int) -> None:
        """The partition ends before this offset for now."""
        if number in self._all:
            before = self._all[number].progress.base
            self._all[number].progress.reach(offset)
            if self._all[number].progress.base != before:
                self.changed.add(number)

    def take(self, most: int, room: int, now: float) -> list[Given]:
        """Up to `most`, of `room` bytes and one message more, at these unix seconds; each partition in its turn."""
        found: list[Given] = []
        for number in list(self._all):
            partition = self._all[number]
            partition.release_held(now)
            chosen = self._eligible(partition, most - len(found), room - _size(found), now)
            for record in chosen:
                partition.in_hand[record.offset] = record
                found.append(Given(record, partition.progress.give(record.offset, now)))
            if chosen:
                gone = {record.offset for record in chosen}
                partition.waiting = [one for one in partition.waiting if one[0] not in gone]
                self.changed.add(number)
                self._all[number] = self._all.pop(number)  # the others come first next time
        return found

    def finish(self, handles: Iterable[Handle]) -> None:
        """These have an end; of a partition that is another's by now it is kept in mind, in case it returns."""
        for number, offset in handles:
            partition = self._all.get(number)
            if partition is None:
                self._ended[number, offset] = None
                if len(self._ended) > MOST_ENDED:
                    self._ended.popitem(last=False)
            else:
                partition.in_hand.pop(offset, None)
                partition.release_held()
                partition.waiting = [one for one in partition.waiting if one[0] != offset]
                partition.progress.finish(offset)
                self.changed.add(number)

    def give_back(self, handles: Iterable[Handle], not_before: float = 0.0) -> None:
        """These were not started: they wait again, uncounted, at their old place."""
        for number, offset in handles:
            partition = self._all.get(number)
            record = None if partition is None else partition.in_hand.pop(offset, None)
            if partition is not None and record is not None and partition.progress.give_back(offset):
                insort(partition.waiting, (offset, not_before, record))
                self.changed.add(number)

    def _eligible(self, partition: Partition, most: int, room: int, now: float) -> list[Record]:
        found: list[Record] = []
        busy = {one.key for one in partition.in_hand.values()} if self._by_key else set()
        for _, not_before, record in partition.waiting:
            if len(found) >= most or room <= 0:
                break
            keyed = self._by_key and record.key is not None
            if keyed and record.key in busy:
                continue
            if not_before <= now:
                found.append(record)
                room -= len(record.value)
            if keyed:
                busy.add(record.key)
        return found


def _size(found: Iterable[Given]) -> int:
    return sum(len(one.record.value) for one in found)
