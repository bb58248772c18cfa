"""What is known of a partition: gaps and deliveries over any history, and over a change of readers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sender.queues.kafka.progress import LARGEST, MARK, MOST, PartitionProgress, is_of_another


def handed_on(progress: PartitionProgress) -> PartitionProgress:
    return PartitionProgress.decode(progress.base, progress.encode())


class Model(RuleBasedStateMachine):
    """One log with holes, read by one reader after another, against a plain table of what is true."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = PartitionProgress(100)
        self.end = 100
        self.log: list[int] = []
        self.at = 0
        self.deliveries: dict[int, int] = {}
        self.done: set[int] = set()
        self.in_hand: list[int] = []

    @rule(hole=st.integers(0, 3))
    def write(self, hole: int) -> None:
        self.log.append(self.end + hole)
        self.end = self.log[-1] + 1

    @precondition(lambda self: self.at < len(self.log))
    @rule(now=st.integers(1, 10**9))
    def read(self, now: int) -> None:
        offset = self.log[self.at]
        self.at += 1
        assert self.progress.see(offset) == (offset not in self.done)
        if offset not in self.done:
            self.deliveries[offset] = self.deliveries.get(offset, 0) + 1
            assert self.progress.give(offset, now) == self.deliveries[offset]
            self.in_hand.append(offset)

    @precondition(lambda self: self.in_hand)
    @rule(chance=st.randoms(use_true_random=False))
    def finish(self, chance: random.Random) -> None:
        offset = self.in_hand.pop(chance.randrange(len(self.in_hand)))
        self.done.add(offset)
        self.progress.finish(offset)

    @precondition(lambda self: self.in_hand)
    @rule(chance=st.randoms(use_true_random=False))
    def give_back_and_out_again(self, chance: random.Random) -> None:
        offset = chance.choice(self.in_hand)
        assert self.progress.give_back(offset)
        assert self.progress.give(offset, 5) == self.deliveries[offset]

    @rule(returned=st.booleans())
    def next_reader(self, returned: bool) -> None:
        for offset in self.in_hand if returned else ():
            self.progress.give_back(offset)
            self.deliveries[offset] -= 1
        self.in_hand = []
        self.progress = handed_on(self.progress)
        self.at = sum(offset < self.progress.base for offset in self.log)

    @invariant()
    def nothing_without_an_end_is_behind_the_commit(self) -> None:
        assert all(offset in self.done for offset in self.log if offset < self.progress.base)

    @invariant()
    def what_is_done_stays_done(self) -> None:
        later = handed_on(self.progress)
        assert not [offset for offset in self.log if offset >= later.base and later.see(offset) and offset in self.done]


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestProgress = Model.TestCase


def test_the_base_moves_over_what_is_done() -> None:
    progress = PartitionProgress(0)
    for offset in range(5):
        assert progress.see(offset)
        assert progress.give(offset, 1.0) == 1
    for offset in (1, 2, 4):
        progress.finish(offset)
    assert (progress.base, progress.next, progress.unfinished) == (0, 5, 2)
    progress.finish(0)
    assert progress.base == 3
    progress.finish(3)
    assert (progress.base, progress.unfinished) == (5, 0)


def test_the_end_of_a_transaction_is_no_message() -> None:
    """A lag of one stayed for ever behind every producer with transactions."""
    progress = PartitionProgress(0)
    progress.see(0)
    progress.give(0, 1.0)
    progress.finish(0)
    progress.reach(2)
    assert progress.base == 2


def test_what_was_left_and_then_deleted_holds_nothing_up() -> None:
    progress = PartitionProgress(0)
    for offset in range(4):
        progress.see(offset)
    again = handed_on(progress)
    assert again.see(2)
    assert again.base == 2
    again.finish(2)
    again.reach(9)
    assert again.base == 9


def test_since_when_something_is_in_hand_is_handed_on() -> None:
    progress = PartitionProgress(0)
    progress.see(0)
    assert progress.given_since is None
    progress.give(0, 1000.5)
    progress.see(1)
    progress.give(1, 900.5)
    again = handed_on(progress)
    assert again.given_since == 900
    again.see(0)
    again.give(0, 5000.0)
    again.finish(0)
    assert again.given_since == 900
    again.see(1)
    again.finish(1)
    assert again.given_since is None


def test_gaps_that_do_not_fit_are_forgotten_from_the_end_and_counted_as_given_out() -> None:
    progress, chance = PartitionProgress(0), random.Random(3)
    for offset in range(200_000):
        progress.see(offset)
        progress.give(offset, 1.0)
    done = {offset for offset in range(200_000) if chance.random() < 0.5} - {0}
    for offset in done:
        progress.finish(offset)
    text = progress.encode()
    assert len(text) <= MOST
    again = PartitionProgress.decode(progress.base, text)
    assert again.next == progress.next
    open_now = [offset for offset in range(200_000) if again.see(offset)]
    assert set(range(200_000)) - done <= set(open_now)
    assert again.give(199_999, 1.0) == 2


def test_ten_thousand_jobs_out_of_order_fit() -> None:
    progress, chance = PartitionProgress(0), random.Random(3)
    for offset in range(10_000):
        progress.see(offset)
        progress.give(offset, 1.0)
    done = {offset for offset in range(10_000) if chance.random() < 0.5}
    for offset in done:
        progress.finish(offset)
    again = handed_on(progress)
    assert {offset for offset in range(progress.base, 10_000) if again.see(offset)} == set(range(10_000)) - done


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: MARK + data.decode("latin-1")))
def test_metadata_that_somebody_else_wrote_mean_nothing(text: str) -> None:
    found = PartitionProgress.decode(7, text)
    assert found.base >= 7
    assert found.unfinished <= LARGEST


def test_metadata_of_the_form_before_are_still_read() -> None:
    found = PartitionProgress.decode(8, "s1:c$|B|&cMXTz{tb|00@Hs_y")
    assert (found.base, found.next, found.unfinished) == (8, 12, 3)


def test_metadata_tell_which_topic_they_are_of() -> None:
    progress = PartitionProgress(5)
    progress.see(5)
    text = progress.encode("first-topic_s-id")
    assert is_of_another(text, "second")
    assert not is_of_another(text, "first-topic_s-id")
    assert not is_of_another(text, ""), "the cluster gives no ids"
    assert not any(is_of_another(one, "second") for one in (progress.encode(), "s1:abc", "other:program", "", None))
    assert PartitionProgress.decode(5, text).unfinished == 1


@pytest.mark.parametrize("text", [None, "", "s1:", MARK, MARK + "0" * 9000])
def test_no_metadata(text: str | None) -> None:
    found = PartitionProgress.decode(7, text)
    assert (found.base, found.next, found.unfinished) == (7, 7, 0)
