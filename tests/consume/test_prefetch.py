"""How many messages a reader takes at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.consume.prefetch import MOST_AT_ONCE, PROBE, PrefetchPolicy
from tests.consume.parts import job


class FakeCapacity:
    def __init__(self, free: int, most: int = 200) -> None:
        self.free, self.most = free, most

    def places(self, lane: str, priority: str) -> tuple[int, int]:
        return self.free, self.most


def test_it_reads_in_batches_what_its_lanes_have_room_for() -> None:
    policy, workspace = PrefetchPolicy(100), FakeCapacity(200)
    assert policy.most(0, 0.0) == MOST_AT_ONCE
    policy.saw(workspace, job(1), 0.0)
    assert policy.most(90, 0.0) == 0, "not one by one"
    assert policy.most(75, 0.0) == 25
    workspace.free = 30
    assert policy.most(0, 0.1) == 30


def test_full_lanes_leave_a_probe_now_and_then() -> None:
    policy, workspace = PrefetchPolicy(100), FakeCapacity(0, 4)
    policy.saw(workspace, job(1), 0.0)
    found = [policy.most(4, at / 10) for at in range(40)]
    assert set(found) == {0, PROBE}
    assert 3 <= found.count(PROBE) <= 5


def test_a_workspace_that_has_halted_does_not_slow_the_others_down() -> None:
    policy = PrefetchPolicy(100)
    policy.saw(FakeCapacity(0, 0), job(1), 0.0)
    assert policy.most(0, 0.1) == MOST_AT_ONCE


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 300), st.integers(0, 300))
def test_never_more_in_hand_than_allowed(prefetch: int, in_hand: int, free: int, most: int) -> None:
    policy = PrefetchPolicy(prefetch)
    policy.saw(FakeCapacity(min(free, most), most), job(1), 0.0)
    assert 0 <= policy.most(in_hand, 1.0) <= max(0, prefetch - in_hand)
