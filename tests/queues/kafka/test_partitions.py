"""What waits, what is in hand and what is done, over any history."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sender.queues.kafka import partitions as subject
from sender.queues.kafka.partitions import Partitions, Record
from sender.queues.kafka.progress import PartitionProgress

KEYS = [None, b"a", b"b"]
LATE = 9.0
"""The time of messages that are delayed; the others are taken before."""


def record(partition: int, offset: int, key: bytes | None = None, value: bytes = b"{}") -> Record:
    return Record(offset, partition, key, value, len(value), {})


class Model(RuleBasedStateMachine):
    """Two partitions with three keys, in the order of keys."""

    def __init__(self) -> None:
        super().__init__()
        self.partitions = Partitions(by_key=True)
        self.logs: dict[int, list[Record]] = {0: [], 1: []}
        self.in_hand: list[Record] = []
        self.ended: list[Record] = []
        for number in self.logs:
            self.partitions.add(number, PartitionProgress(0))

    @rule(number=st.integers(0, 1), key=st.sampled_from(KEYS), late=st.booleans())
    def arrive(self, number: int, key: bytes | None, *, late: bool) -> None:
        found = record(number, len(self.logs[number]), key, b"late" if late else b"{}")
        self.logs[number].append(found)
        assert self.partitions.stash(found, LATE if late else 0.0) == late

    @rule(most=st.integers(1, 4))
    def take(self, most: int) -> None:
        given = self.partitions.take(most, 10**6, 1.0)
        assert len(given) <= most
        assert not [one for one in given if one.record.value == b"late"], "not before its time"
        self.in_hand += [one.record for one in given]
        for number in (0, 1):
            keys = [one.key for one in self.in_hand if one.partition == number and one.key is not None]
            assert len(keys) == len(set(keys)), "one message of a key at a time"

    @precondition(lambda self: self.in_hand)
    @rule(which=st.integers(0, 100))
    def finish(self, which: int) -> None:
        one = self.in_hand.pop(which % len(self.in_hand))
        self.ended.append(one)
        self.partitions.finish([one.handle])

    @precondition(lambda self: self.in_hand)
    @rule(which=st.integers(0, 100))
    def give_back(self, which: int) -> None:
        self.partitions.give_back([self.in_hand.pop(which % len(self.in_hand)).handle])

    @rule(number=st.integers(0, 1))
    def move_away_and_return(self, number: int) -> None:
        """What was in hand may end meanwhile, and comes again otherwise."""
        progress = self.partitions[number].progress
        base, text = progress.base, progress.encode()
        self.partitions.clear_waiting([number])
        self.partitions.drop([number])
        away = [one for one in self.in_hand if one.partition == number]
        self.partitions.finish([one.handle for one in away[:1]])
        self.ended += away[:1]
        self.in_hand = [one for one in self.in_hand if one.partition != number]
        self.partitions.add(number, PartitionProgress.decode(base, text))
        for one in self.logs[number][base:]:
            self.partitions.stash(one, LATE if one.value == b"late" else 0.0)

    @invariant()
    def keys_end_in_their_order(self) -> None:
        for number in (0, 1):
            for key in KEYS[1:]:
                offsets = [one.offset for one in self.ended if one.partition == number and one.key == key]
                assert offsets == sorted(set(offsets))

    def teardown(self) -> None:
        """All of it comes to an end, once."""
        while self.in_hand or self.partitions.waiting[0] or self.partitions.held(1.0):
            self.in_hand += [one.record for one in self.partitions.take(9, 10**6, LATE)]
            self.finish(0)
        arrived = [one.handle for log in self.logs.values() for one in log]
        assert sorted(one.handle for one in self.ended) == sorted(arrived)
        assert all(self.partitions[number].progress.base == len(log) for number, log in self.logs.items())


Model.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestPartitions = Model.TestCase


def test_room_bounds_all_but_one_message() -> None:
    partitions = Partitions(by_key=False)
    partitions.add(0, PartitionProgress(0))
    for offset in range(4):
        partitions.stash(record(0, offset, value=b"x" * 100))
    assert [len(partitions.take(9, room, 1.0)) for room in (150, 0, 1)] == [2, 0, 1]


def test_each_partition_has_its_turn() -> None:
    partitions = Partitions(by_key=False)
    for number in range(3):
        partitions.add(number, PartitionProgress(0))
        for offset in range(4):
            partitions.stash(record(number, offset))
    assert [one.record.partition for _ in range(3) for one in partitions.take(2, 999, 1.0)] == [0, 0, 1, 1, 2, 2]


def test_what_was_given_back_for_later_holds_up_its_key_alone() -> None:
    partitions = Partitions(by_key=True)
    partitions.add(0, PartitionProgress(0))
    for offset, key in enumerate([b"a", b"a", b"b"]):
        partitions.stash(record(0, offset, key))
    assert [one.record.offset for one in partitions.take(9, 999, 1.0)] == [0, 2]
    partitions.give_back([(0, 0)], not_before=5.0)
    assert partitions.take(9, 999, 4.0) == []
    assert [(one.record.offset, one.deliveries) for one in partitions.take(9, 999, 5.0)] == [(0, 1)]


def test_a_delayed_message_holds_up_its_partition_alone_until_its_time() -> None:
    partitions = Partitions(by_key=False)
    for number in range(2):
        partitions.add(number, PartitionProgress(0))
    assert partitions.stash(record(0, 0), 60.0)
    assert not partitions.stash(record(1, 0))
    assert partitions.waiting[0] == 1, "what waits for its time takes no room of others"
    assert partitions.held(50.0) == {0}
    assert [one.record.handle for one in partitions.take(9, 999, 50.0)] == [(1, 0)]
    assert partitions[0].progress.unfinished == 1, "it counts as lag"
    assert partitions.held(60.0) == set()
    assert [one.record.handle for one in partitions.take(9, 999, 60.0)] == [(0, 0)]


def test_what_was_held_is_not_lost_when_another_comes_or_goes_with_its_partition() -> None:
    partitions = Partitions(by_key=False)
    partitions.add(0, PartitionProgress(0))
    partitions.stash(record(0, 0), 60.0)
    partitions.stash(record(0, 1), 61.0)
    assert partitions.take(9, 999, 59.0) == []
    assert [one.record.offset for one in partitions.take(9, 999, 60.5)] == [0]
    assert [one.record.offset for one in partitions.take(9, 999, 62.0)] == [1]
    partitions.stash(record(0, 2), 70.0)
    partitions.finish([(0, 2)])
    assert partitions.take(9, 999, 80.0) == []
    partitions.stash(record(0, 3), 90.0)
    partitions.clear_waiting([0])
    assert partitions.take(9, 999, 99.0) == []


def test_one_unfinished_job_holds_its_partition_up_in_the_end() -> None:
    partitions = Partitions(by_key=False)
    partitions.add(0, PartitionProgress(0))
    for offset in range(subject.WINDOW):
        partitions.stash(record(0, offset))
    partitions.take(1, 999, 1.0)
    partitions[0].waiting.clear()
    assert partitions.full == {0}
    for offset in range(1, subject.WINDOW):
        partitions[0].progress.finish(offset)
    assert partitions.full == {0}
    partitions.finish([(0, 0)])
    assert partitions.full == set()
