"""Which readers are stuck, by what a reader sees of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.queues.stuck_readers import StuckReaders


def test_idle_for_no_time_at_all_for_long_enough() -> None:
    stuck = StuckReaders(25.0)
    assert stuck.look([("a", 0), ("b", 0), ("c", 12)], 0.0) == []
    assert stuck.look([("a", 0), ("b", 900)], 20.0) == []
    assert stuck.look([("a", 0), ("b", 0)], 25.0) == ["a"]
    assert stuck.look([("b", 0)], 44.9) == []
    assert stuck.look([("b", 0)], 50.0) == ["b"]


@given(st.floats(0, 25 / 3), st.floats(0, 0.5))
def test_one_that_a_living_reader_keeps_is_none(phase: float, late: float) -> None:
    """It is kept every third of the time after which it would return, and looked at every fifth."""
    stuck = StuckReaders(25.0)
    for number in range(40):
        now = number * (5.0 + late)
        assert stuck.look([("a", int((now + phase) % (25 / 3) * 1000))], now) == []
