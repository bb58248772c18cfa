"""The highest rate that holds: bounds that hold the truth, and a search that ends beside it."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.bench.intervals import (
    ENOUGH,
    difference_bounds,
    percentile_bounds,
    ratio_bounds,
    requests_beyond,
    requests_for,
    share_bounds,
)
from sender.bench.search import LEAST_RATE, MOST_RATE, NARROW, Search, Trial, judge, rounded, seconds_of
from sender.bench.threshold import parse_checks
from sender.errors import UsageError
from sender.runtime.histogram import Histogram
from tests.support.bench_results import result

CHECKS = parse_checks("p99<50ms,errors<1%")


def trial(rate: float, *, latency: float = 10.0, slow: int = 0, count: int = 1000, errors: int = 0,
          reached: bool = True) -> Trial:
    histogram = Histogram()
    histogram.add(latency, count - errors - slow)
    if slow:
        histogram.add(500.0, slow)
    told = result()
    told["reached"] |= {"started": count, "ok": count - errors, "errors": errors, "error_share": errors / count,
                        "rate_reached": reached}
    told["latency_ms"] = dict.fromkeys(told["latency_ms"], histogram.percentile(99))
    return Trial(rate, told, {"latency_ms": histogram, "service_ms": histogram, "start_lag_ms": Histogram()})


@given(st.floats(1, MOST_RATE), st.floats(1, MOST_RATE))
def test_the_search_ends_beside_the_truth(start: float, truth: float) -> None:
    search = Search(rounded(start))
    tried = 0
    while (rate := search.next_rate()) is not None:
        search.learn(rate, "holds" if rate <= truth else "fails")
        tried += 1
        assert tried < 60
    assert search.holds is not None
    assert search.holds <= truth
    if search.fails is not None:
        assert search.fails > truth
        assert search.fails <= NARROW * search.holds or rounded(math.sqrt(search.fails * search.holds)) in (
            search.fails, search.holds)
    else:
        assert search.holds == MOST_RATE


def test_a_rate_that_never_holds_ends_the_search() -> None:
    search = Search(100.0)
    tried = []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.learn(rate, "unclear")
    assert search.holds is None
    assert tried[-1] == LEAST_RATE


def test_what_trials_say_of_a_rate() -> None:
    assert judge(CHECKS, [trial(100)]) == "unclear", "one trial may be luck"
    assert judge(CHECKS, [trial(100), trial(100)]) == "holds"
    assert judge(CHECKS, [trial(100, latency=80)]) == "fails", "no bound of the p99 is below 50 ms"
    assert judge(CHECKS, [trial(100), trial(100, slow=11)]) == "unclear", "it held once and missed once"
    assert judge(CHECKS, [trial(100), trial(100, reached=False), trial(100, reached=False)]) == "fails"
    assert judge(CHECKS, [trial(100, errors=500)]) == "fails"
    assert judge(CHECKS, [trial(100, errors=8), trial(100, errors=8)]) == "unclear", "8 in 1000 may be luck"
    assert judge(CHECKS, [trial(100, count=60), trial(100, count=60)]) == "unclear", "120 have no p99 to speak of"


def test_a_trial_is_as_long_as_its_checks_need() -> None:
    few = parse_checks("errors<0.1%")
    assert requests_for(0.001) == pytest.approx(2703, abs=2)
    assert seconds_of(1000, 5, few) == 5
    assert seconds_of(100, 5, few) == math.ceil(requests_for(0.001) / 2 / 100)
    assert seconds_of(1, 5, few) == 120
    assert seconds_of(1, 500, few) == 500
    assert seconds_of(10, 1, parse_checks("rate>=1")) == 1


def test_enough_requests_have_a_bound_of_their_percentile() -> None:
    for percent in (50.0, 90.0, 99.0, 99.9):
        histogram = Histogram()
        histogram.add(1.0, requests_beyond(percent))
        assert math.isfinite(percentile_bounds(histogram, percent)[1])
    assert percentile_bounds(histogram, 99.9)[0] == 1.0
    histogram = Histogram()
    histogram.add(1.0, 50)
    assert percentile_bounds(histogram, 99)[1] == math.inf


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
def test_bounds_of_a_percentile_hold_it_nearly_always(percent: float) -> None:
    """One-sided 95 % each: of 400 samples about 20 lie outside on each side."""
    chance = random.Random(7)
    truth = -math.log(1 - percent / 100)
    below = above = 0
    for _ in range(400):
        histogram = Histogram()
        for _ in range(600):
            histogram.add(chance.expovariate(1))
        lower, upper = percentile_bounds(histogram, percent)
        below += upper < truth
        above += lower > truth * 1.002  # a bound of the grid is up to 0.1 % above its values
    assert below <= 36
    assert above <= 36


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_bounds_of_a_share_hold_what_was_seen(hits: int, count: int) -> None:
    hits = min(hits, count)
    lower, upper = share_bounds(hits, count)
    assert 0 <= lower <= hits / count + 1e-9
    assert hits / count - 1e-9 <= upper <= 1
    assert share_bounds(0, 0) == (0, 1)


def test_repeats_of_the_same_rarely_differ() -> None:
    chance = random.Random(3)
    wrong = 0
    for _ in range(500):
        sides = [[chance.lognormvariate(2, 0.1) for _ in range(5)] for _ in range(2)]
        bounds = ratio_bounds(*sides)
        assert bounds is not None
        wrong += not bounds[0] <= 1 <= bounds[1]
    assert wrong <= 15, "1 in 100 is what an interval of 99 % lets through"


def test_repeats_that_differ_are_told_apart() -> None:
    assert ratio_bounds([10, 10.1, 9.9], [20, 20.2, 19.8]) == pytest.approx((1.9, 2.1), abs=0.08)
    assert ratio_bounds([10, 10.1], [20, 20.2, 19.8]) is None
    assert ratio_bounds([0, 1, 2], [1, 1, 1]) is None
    assert difference_bounds([1.0] * ENOUGH, [3.0] * ENOUGH) == (2.0, 2.0)


@pytest.mark.parametrize("text", ["", "p99<50ms,", "p99<50", "p99<50ms;errors<1%"])
def test_checks_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError):
        parse_checks(text)


def test_why_a_trial_does_not_hold() -> None:
    assert trial(100).missed(CHECKS) is None
    assert trial(100, latency=80).missed(CHECKS) == "p99 80 ms"
    assert trial(100, errors=20).missed(CHECKS) == "errors 2%"
    nothing: Any = trial(100, reached=False).missed(CHECKS)
    assert "100.0% of the planned" in nothing
