"""A histogram counts every value once, under the least bound that holds it."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.runtime.histogram import Histogram

BOUNDS = (0.005, 0.01, 0.1, 0.5, 1.0, 20.0)


@given(st.lists(st.floats(min_value=-1, max_value=100), max_size=200))
def test_a_histogram_counts_every_value_under_all_bounds_that_hold_it(values: list[float]) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.add(value)
    counts = histogram.counts()
    for (bound, _), running in zip(counts, accumulate(count for _, count in counts), strict=True):
        assert running == sum(value <= bound for value in values)
    assert histogram.count == sum(count for _, count in counts) == len(values)
    assert histogram.total == pytest.approx(sum(max(0.0, value) for value in values))


def test_a_histogram_takes_no_value_that_is_no_number() -> None:
    histogram = Histogram(BOUNDS)
    for value in (math.nan, math.inf, -math.inf):
        histogram.add(value)
    assert histogram.counts() == []
    assert histogram.total == 0
