"""The breaker's instants and counts, and how many requests it lets a lane have in hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.engine.breaker import (
    FAILURES,
    FIRST_WAIT,
    MOST_WAIT,
    PROBE_EVERY,
    RECENT,
    REMEMBERED,
    SPARE,
    STALL,
    UNKNOWN_LATENCY,
    Breaker,
)

NOW = 100.0
BEFORE = 99.0


def fail(breaker: Breaker, now: float, times: int = FAILURES) -> None:
    for _ in range(times):
        breaker.bad(now, now - 0.1)


def opened() -> Breaker:
    breaker = Breaker(100)
    fail(breaker, NOW)
    return breaker


def trying(now: float = NOW + FIRST_WAIT) -> Breaker:
    breaker = opened()
    breaker.probed(now, answered=True)
    assert breaker.state == "trying"
    return breaker


def test_a_new_lane_is_closed_and_has_seen_nothing() -> None:
    breaker = Breaker(100)
    assert (breaker.state, breaker.opened, breaker.recoveries, breaker.open_since) == ("closed", 0, 0, None)
    assert breaker.most_in_hand() == SPARE + round(2 * 100 * UNKNOWN_LATENCY)


def test_it_opens_at_the_fifth_failure_in_a_row() -> None:
    breaker = Breaker(100)
    fail(breaker, NOW, FAILURES - 1)
    breaker.good(NOW, 0.1)
    fail(breaker, NOW, FAILURES - 1)
    assert breaker.state == "closed"
    fail(breaker, NOW, 1)
    assert (breaker.state, breaker.open_since, breaker.opened) == ("open", NOW, 1)
    fail(breaker, NOW + 1)
    assert (breaker.open_since, breaker.opened) == (NOW, 1), "it is one outage"


def test_each_outage_is_counted_once_and_each_recovery() -> None:
    breaker = Breaker(100)
    for number in (1, 2, 3):
        now = NOW * number
        fail(breaker, now)
        for trial in (10.0, 40.0):
            breaker.probed(now + trial, answered=True)
            assert breaker.state == "trying"
            breaker.bad(now + trial + 1, now + trial + 0.5)
            assert (breaker.state, breaker.open_since) == ("open", now)
        breaker.probed(now + 80, answered=True)
        breaker.good(now + 81, 0.1)
        assert (breaker.state, breaker.open_since) == ("closed", None)
        assert (breaker.opened, breaker.recoveries) == (number, number)
        fail(breaker, now + 82, FAILURES - 1)
        assert breaker.state == "closed", "failures are counted anew"
        breaker.good(now + 83, 0.1)


@pytest.mark.parametrize(("started", "state"), [(NOW - 1, "trying"), (NOW, "trying"), (NOW + 0.001, "open")])
def test_what_was_begun_before_the_outage_does_not_prolong_it(started: float, state: str) -> None:
    breaker = trying()
    breaker.bad(NOW + 2, started)
    assert breaker.state == state


def test_an_answer_while_it_is_open_lets_it_be_probed_but_does_not_close_it() -> None:
    breaker = opened()
    breaker.good(NOW + 0.25, 0.1)
    assert (breaker.state, breaker.recoveries) == ("open", 0)
    breaker.probed(NOW + 0.25, answered=True)
    assert breaker.state == "trying"


def full(breaker: Breaker, latency: float, answers: int = REMEMBERED) -> Breaker:
    """Answers of one latency, the last of them at NOW."""
    for number in range(answers):
        breaker.good(NOW - (answers - 1 - number) * 0.01, latency)
    return breaker


@pytest.mark.parametrize(
    ("in_hand", "silence", "oldest", "stalled"),
    [
        (0, 0.001, -1.0, True), (0, -0.001, -1.0, False), (-1, 5.0, -1.0, False),
        (0, 1.0, 1.001, False), (0, 1.0, 0.999, True),
    ],
)
def test_a_full_lane_without_answers_is_stalled(in_hand: int, silence: float, oldest: float, stalled: bool) -> None:
    """`silence`: beyond what three times the slowest latency explains; `oldest`: the oldest one's start, after NOW."""
    breaker = full(Breaker(100), 0.5)
    now = NOW + STALL + 3 * 0.5 + silence
    assert breaker.stalled(now, breaker.most_in_hand() + in_hand, NOW + oldest) is stalled
    assert (breaker.state == "open") is stalled
    assert breaker.open_since == (now if stalled else None)


def test_a_stall_is_looked_into_at_once_and_told_once() -> None:
    breaker = full(Breaker(100), 0.5)
    assert breaker.stalled(NOW + 10, 200, BEFORE)
    assert not breaker.stalled(NOW + 10, 200, BEFORE)
    breaker.probed(NOW + 10, answered=True)
    assert breaker.state == "trying"


def test_a_lane_that_was_never_answered_is_judged_from_its_oldest_request() -> None:
    breaker = Breaker(100)
    in_hand, patience = breaker.most_in_hand(), STALL + 3 * UNKNOWN_LATENCY
    assert not breaker.stalled(NOW + patience - 0.001, in_hand, NOW)
    assert breaker.stalled(NOW + patience + 0.001, in_hand, NOW)


def test_one_slow_answer_is_remembered_as_long_as_it_is_among_the_last() -> None:
    def patience(breaker: Breaker) -> float:
        """Seconds of silence after which the lane is stalled."""
        low, high = 0.0, 100.0
        while high - low > 0.001:
            middle = (low + high) / 2
            one = full(Breaker(100), 0.01)
            one.__dict__.update(breaker.__dict__)
            low, high = (low, middle) if one.stalled(NOW + middle, 10**6, BEFORE) else (middle, high)
        return round(high, 2)

    breaker = full(Breaker(100), 0.01)
    assert patience(breaker) == STALL + 0.03
    breaker.good(NOW, 2.0)
    assert patience(breaker) == STALL + 6.0
    for _ in range(REMEMBERED - 1):
        breaker.good(NOW, 0.02)
    assert patience(breaker) == STALL + 6.0
    breaker.good(NOW, 0.02)
    assert patience(breaker) == STALL + 0.06
    young = full(Breaker(100), 0.01, REMEMBERED // 4 - 1)
    assert patience(young) == round(STALL + 3 * UNKNOWN_LATENCY, 2), "a guess is better than a few answers"
    young.good(NOW, 0.01)
    assert patience(young) == STALL + 0.03


@given(st.lists(st.floats(0.001, 3), min_size=1, max_size=2 * REMEMBERED), st.sampled_from([1, 100, 1000]))
def test_twice_what_the_latency_explains_and_a_few_may_be_in_hand(latencies: list[float], rate: float) -> None:
    """The mean of the last 200 or of the last 20, whichever is higher: a slower API is believed soon."""
    breaker = Breaker(rate)
    for latency in latencies:
        breaker.good(NOW, latency)
    known = latencies[-REMEMBERED:]
    usual = max(sum(known) / len(known), sum(known[-RECENT:]) / RECENT) if len(known) >= RECENT else UNKNOWN_LATENCY
    assert abs(breaker.most_in_hand() - (SPARE + 2 * rate * usual)) <= 0.5 + 1e-6 * rate


def next_look(breaker: Breaker) -> float:
    return breaker.retry_at


def next_trial(breaker: Breaker) -> float:
    return breaker.retry_at


def test_probes_come_at_growing_distances_up_to_the_longest() -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(8):
        waits.append(next_look(breaker) - now)
        now = next_look(breaker)
        breaker.probed(now, answered=False)
    assert waits == [min(PROBE_EVERY, FIRST_WAIT * 1.5**number) for number in range(8)]


def test_failed_trials_double_the_wait_up_to_the_longest_and_a_recovery_ends_that() -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(8):
        breaker.probed(now + 100, answered=True)
        now += 200
        breaker.bad(now, now - 1)
        waits.append(next_trial(breaker) - now)
    assert waits == [min(MOST_WAIT, FIRST_WAIT * 2**number) for number in range(1, 9)]
    breaker.probed(now + 100, answered=True)
    breaker.good(now + 101, 0.1)
    fail(breaker, now + 102)
    assert next_trial(breaker) == now + 102 + FIRST_WAIT


def test_a_lane_that_failed_its_trials_is_probed_as_often_as_ever() -> None:
    breaker, now = opened(), NOW
    for _ in range(5):
        breaker.probed(now + 100, answered=True)
        now += 200
        breaker.bad(now, now - 1)
    for _ in range(3):
        now = next_look(breaker)
        breaker.probed(now, answered=False)
        assert next_look(breaker) == now + PROBE_EVERY
    breaker.probed(now + 100, answered=True)
    breaker.bad(now + 200, now + 199)
    assert next_trial(breaker) == now + 200 + MOST_WAIT, "probes do not make the next trial come sooner"
