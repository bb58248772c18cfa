from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.sandbox.arrivals import Arrivals, max_in_window
from sender.sandbox.limit import SECOND, Bucket, Unlimited, Window, count_and_window, make_limit

STAMPS = st.lists(st.integers(0, 4 * SECOND), max_size=60)


@given(STAMPS, st.integers(1, 5))
def test_no_window_ever_holds_more_in_whatever_order_they_come(stamps: list[int], count: int) -> None:
    window = Window(count, SECOND)
    admitted = sorted(stamp for stamp in stamps if not window.admit(stamp))
    assert max_in_window(admitted, SECOND) <= count


@given(STAMPS, st.integers(1, 5))
def test_in_order_nothing_is_refused_without_need(stamps: list[int], count: int) -> None:
    window, admitted = Window(count, SECOND), list[int]()
    for stamp in sorted(stamps):
        full = sum(1 for earlier in admitted if earlier > stamp - SECOND) >= count
        wait = window.admit(stamp)
        assert bool(wait) == full
        if wait:
            assert window.admit(stamp + wait - 1), "the announced wait is exact"
        else:
            admitted.append(stamp)


def test_the_edges_are_exact() -> None:
    window = Window(2, SECOND)
    assert [window.admit(at) for at in (0, 5, SECOND - 1)] == [0, 0, 1]
    assert window.admit(SECOND) == 0, "exactly one second later is another window"
    assert window.admit(SECOND + 4) == 1
    assert window.admit(SECOND + 5) == 0


def test_the_101st_in_a_second_is_refused_and_old_ones_are_forgotten() -> None:
    window = Window(100, SECOND)
    assert [bool(window.admit(at)) for at in range(101)] == [False] * 100 + [True]
    for at in range(10_000):
        assert not window.admit(20 * SECOND + at * SECOND // 100 + at)
    assert len(window._stamps) < 2000


def test_bucket() -> None:
    bucket = Bucket(2, SECOND)
    assert [bucket.admit(at) for at in (0, 0)] == [0, 0]
    assert bucket.admit(0) == SECOND // 2
    assert bucket.admit(SECOND // 2) == 0
    assert bucket.admit(SECOND // 4) > 0, "an earlier stamp refills nothing"
    assert [bool(bucket.admit(9 * SECOND)) for _ in range(3)] == [False, False, True]


def test_rates() -> None:
    assert count_and_window(100) == (100, SECOND)
    assert count_and_window(0.1) == (1, 10 * SECOND)
    assert count_and_window(2.5) == (2, 800_000_000)
    assert isinstance(make_limit("strict", 0), Unlimited)
    assert isinstance(make_limit("bucket", 5), Bucket)


def test_arrivals_count_refused_ones_too() -> None:
    log = Arrivals()
    for at, result in ((0, "200"), (SECOND, "200"), (SECOND // 2, "429"), (SECOND + 1, "reset_after")):
        log.record(at, result, accepted=result != "429")
    figures = log.figures()
    assert (figures["arrived"], figures["accepted"], figures["rejected_429"]) == (4, 3, 1)
    assert (figures["max_in_window"], figures["max_admitted_in_window"]) == (3, 2)
    assert figures["statuses"] == {"200": 2, "429": 1, "reset_after": 1}
    assert (figures["first_at"], figures["last_at"]) == (0.0, 1.000000001)
    assert figures["gaps_ms"] == {"p1": 1e-6, "p50": 500.0, "p99": 500.0, "max": 500.0}


def test_forgetting_keeps_counts_and_the_peak() -> None:
    log = Arrivals(forget=True)
    for at in range(70):
        log.record(at, "200", accepted=True)
    for number in range(140_000):
        log.record((number + 5) * SECOND, "200", accepted=True)
    figures = log.figures()
    assert (figures["arrived"], figures["max_in_window"]) == (140_070, 70)
    assert len(log._stamps) < 131_072
