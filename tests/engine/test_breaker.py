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


def test_probes_come_at_growing_distances_up_to_the_longest() -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(8):
        waits.append(breaker.probe_at - now)
        now = breaker.probe_at
        breaker.probed(now, answered=False)
    assert waits == [min(PROBE_EVERY, FIRST_WAIT * 1.5**number) for number in range(8)]
    breaker.probed(now, answered=True)
    breaker.bad(now + 1, now + 0.5)
    breaker.probed(now + 1, answered=False)
    assert breaker.probe_at == now + 1 + FIRST_WAIT * 1.5, "an answer lets the distances begin anew"


def failed_trials(count: int) -> tuple[Breaker, float]:
    """A lane that failed so many trials, the last of them now."""
    breaker, now = opened(), NOW
    for _ in range(count):
        now = breaker.try_at
        breaker.probed(now, answered=True)
        assert breaker.state == "trying"
        breaker.bad(now, now)
    return breaker, now


def test_failed_trials_double_the_wait_up_to_the_longest_and_a_recovery_ends_that() -> None:
    for count in range(9):
        breaker, now = failed_trials(count)
        wait = min(MOST_WAIT, FIRST_WAIT * 2**count)
        assert (breaker.try_at, breaker.probe_at) == (now + wait, now + min(wait, PROBE_EVERY))
    breaker.probed(now + 100, answered=True)
    breaker.good(now + 101, 0.1)
    fail(breaker, now + 102)
    assert breaker.try_at == now + 102 + FIRST_WAIT


def test_an_answered_probe_waits_for_the_next_trial() -> None:
    breaker, now = failed_trials(3)
    for began, look in ((now + 1, now + 1 + PROBE_EVERY), (now + 6, now + 8), (now + 7.9, now + 8)):
        breaker.probed(began, answered=True)
        assert (breaker.state, breaker.probe_at, breaker.try_at) == ("open", look, now + 8)
    breaker.probed(now + 8, answered=True)
    assert breaker.state == "trying"


def test_the_first_answer_after_silence_lets_a_job_be_tried() -> None:
    breaker, now = failed_trials(6)
    breaker.probed(now + 5, answered=False)
    breaker.probed(now + 5 + FIRST_WAIT * 1.5, answered=True)
    assert breaker.state == "trying"


def test_an_api_that_answers_is_not_away_and_refuses_the_job() -> None:
    breaker = Breaker(100)
    assert not breaker.away
    assert not breaker.is_refusal(NOW + 1)
    fail(breaker, NOW)
    assert breaker.away
    assert not breaker.is_refusal(NOW + 1)
    breaker.probed(NOW + 1, answered=True)
    assert not breaker.away
    assert [breaker.is_refusal(started) for started in (NOW - 1, NOW, NOW + 1)] == [False, False, True]
    breaker.bad(NOW + 2, NOW + 1)
    assert not breaker.away
    breaker.probed(NOW + 4, answered=False)
    assert breaker.away
    assert not breaker.is_refusal(NOW + 4)
    breaker.probed(NOW + 9, answered=True)
    breaker.good(NOW + 10, 0.1)
    assert not breaker.away
    assert not breaker.is_refusal(NOW + 11), "it is over"
    fail(breaker, NOW + 20)
    assert breaker.away, "what was answered in an earlier outage tells nothing of this one"


def test_an_answer_lets_it_be_probed_and_tried_at_once() -> None:
    breaker, now = failed_trials(5)
    breaker.good(now + 1, 0.1)
    assert (breaker.state, breaker.probe_at, breaker.try_at) == ("open", now + 1, now + 1)


def test_the_silence_of_a_process_that_stood_still_is_none_of_the_lanes() -> None:
    breaker = full(Breaker(100), 0.5)
    breaker.stood_still(NOW + 60)
    assert not breaker.stalled(NOW + 60 + STALL + 1.4, 200, BEFORE)
    assert breaker.stalled(NOW + 60 + STALL + 1.6, 200, BEFORE)
    assert (breaker.probe_at, breaker.try_at) == (NOW + 62.6, NOW + 62.6), "it is looked into at once"
