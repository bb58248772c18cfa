"""A histogram counts every value once, under the least bound that holds it."""

from __future__ import annotations

import math
import sys
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.runtime.histogram import COARSE, FINE, Histogram


@given(st.lists(st.floats(min_value=-1, max_value=100), max_size=200))
def test_a_histogram_counts_every_value_under_all_bounds_that_hold_it(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    counts = histogram.counts()
    for (bound, _), running in zip(counts, accumulate(count for _, count in counts), strict=True):
        assert running == sum(value <= bound for value in values)
    assert histogram.count == sum(count for _, count in counts) == len(values)
    assert histogram.total == pytest.approx(sum(max(0.0, value) for value in values))


def test_a_histogram_takes_no_value_that_is_no_number() -> None:
    histogram = Histogram()
    for value in (math.nan, math.inf, -math.inf):
        histogram.add(value)
    assert histogram.counts() == []
    assert histogram.total == 0


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e-6, 1.0, 2.0, 1023.5, 1e6, 1e300, sys.float_info.max])
def test_a_bound_holds_its_values_closely(value: float) -> None:
    for cells, error in ((FINE, 0.001), (COARSE, 0.01)):
        histogram = Histogram(cells)
        histogram.add(value)
        ((bound, count),) = histogram.counts()
        assert count == 1
        assert value <= bound <= max(value, 1e-6) * (1 + error) or bound == math.inf
        assert histogram.percentile(50) == min(bound, value)
