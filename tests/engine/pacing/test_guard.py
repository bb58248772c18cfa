"""What the guard learns from which refusals, lesson by lesson."""

from __future__ import annotations

import pytest

from sender.engine.pacing.guard import (
    CLIMB,
    ENOUGH,
    FIRST_LOOK,
    FIRST_SPREAD,
    FORGET_AFTER,
    HASTE,
    LEAST_CUT,
    LEAST_SHARE,
    MOST_SPREAD,
    NEXT_LOOK,
    Guard,
)

SPREADS = [0.005, 0.008, 0.0128, 0.02048, 0.032768, MOST_SPREAD]


def taught(lessons: int, window: float = 1.0) -> Guard:
    """A guard after so many single refusals, a window apart, the first at 0."""
    guard = Guard(window)
    for number in range(lessons):
        guard.refused(number * window)
    return guard


def second_lesson(answers: int, refused: int) -> Guard:
    """A guard that has had a lesson at 0, and the next one at 1 from so many answers."""
    guard = taught(1)
    for _ in range(answers - refused):
        guard.accepted(0.5)
    for _ in range(refused - 1):
        guard.refused(0.5)
    guard.refused(1.0)
    return guard


def test_single_refusals_widen_the_window_and_then_shrink_the_share() -> None:
    assert (taught(0).spread, taught(0).share) == (0.0, 1.0)
    for lessons, spread in enumerate(SPREADS, 1):
        assert taught(lessons).spread == pytest.approx(spread)
        assert taught(lessons).share == 1.0
    assert taught(7).spread == MOST_SPREAD
    assert taught(7).share == 1 - LEAST_CUT
    assert taught(8).share == pytest.approx((1 - LEAST_CUT) ** 2)


def test_what_was_paced_before_a_lesson_teaches_nothing_new() -> None:
    guard = taught(1, window=10.0)
    guard.refused(9.999)
    assert guard.spread == FIRST_SPREAD
    guard.refused(10.0)
    assert guard.spread == pytest.approx(SPREADS[1])
    guard.refused(19.999)
    assert guard.spread == pytest.approx(SPREADS[1])


@pytest.mark.parametrize(
    ("answers", "refused", "share"),
    [
        (20, 1, 1.0), (19, 19, 1.0), (40, 2, 1.0),
        (20, 2, 0.9), (20, 8, 0.6), (20, 10, 0.5), (20, 20, 0.5), (100, 6, 0.94),
    ],
)
def test_many_refusals_among_enough_answers_are_a_rival(answers: int, refused: int, share: float) -> None:
    guard = second_lesson(answers, refused)
    assert guard.share == pytest.approx(share)
    assert guard.spread == pytest.approx(SPREADS[1] if share == 1.0 else SPREADS[0])


def test_each_lesson_counts_its_own_answers() -> None:
    guard = second_lesson(20, 10)
    guard.accepted(1.5)
    guard.refused(2.0)
    assert (guard.share, guard.spread) == (0.5, pytest.approx(SPREADS[1])), "two answers say nothing"


def test_a_share_is_left_whatever_happens() -> None:
    guard = Guard()
    for lesson in range(1000):
        guard.refused(float(lesson))
    assert guard.share == LEAST_SHARE


def test_a_rival_that_has_gone_is_noticed_by_its_silence() -> None:
    guard = second_lesson(20, 10)
    share = 0.5
    for now in (1.5, 2.5, 3.0):
        guard.accepted(now)
        assert guard.share == share, "two windows are waited for"
    for now in (3.5, 4.6, 20.0):
        guard.accepted(now)
        share *= 1 + CLIMB * (1 + (now - 1.0) / HASTE)
        assert guard.share == pytest.approx(share)
        guard.accepted(now + 1.0)
        assert guard.share == pytest.approx(share), "once in a window"
    guard.accepted(10_000.0)
    assert guard.share == 1.0


def test_a_long_window_is_waited_for() -> None:
    guard = taught(7, window=10.0)
    for now in (70.5, 80.0):
        guard.accepted(now)
        assert guard.share == 1 - LEAST_CUT
    guard.accepted(80.5)
    assert guard.share > 1 - LEAST_CUT


def test_a_wide_window_narrows_by_a_tenth_after_a_quiet_minute() -> None:
    guard = taught(2)
    guard.accepted(1.0 + FORGET_AFTER)
    assert guard.spread == pytest.approx(0.008)
    now, spread = 1.0, 0.008
    while spread >= FIRST_SPREAD:
        now += FORGET_AFTER + 0.5
        spread *= 0.9
        guard.accepted(now)
        assert guard.spread == pytest.approx(spread)
        guard.accepted(now + FORGET_AFTER)
        assert guard.spread == pytest.approx(spread), "a minute each time"
    guard.accepted(now + FORGET_AFTER + 0.5)
    assert guard.spread == 0.0


def test_the_narrowest_window_loses_a_tenth_first() -> None:
    guard = taught(1)
    guard.accepted(FORGET_AFTER + 1)
    assert guard.spread == pytest.approx(FIRST_SPREAD * 0.9)


def test_the_share_comes_back_before_the_window_narrows() -> None:
    guard = taught(7)
    guard.accepted(6.0 + FORGET_AFTER + 1)
    assert guard.spread == MOST_SPREAD
    assert guard.share > 1 - LEAST_CUT


def test_a_careful_guard_goes_up_to_the_limit_while_nothing_is_refused() -> None:
    guard, spread = Guard.careful(), MOST_SPREAD
    guard.accepted(0.0)
    guard.accepted(FIRST_LOOK - 0.01)
    assert guard.spread == spread
    now = FIRST_LOOK
    while spread >= FIRST_SPREAD:
        guard.accepted(now)
        spread /= 2
        assert guard.spread == (spread if spread >= FIRST_SPREAD / 2 else 0.0)
        guard.accepted(now + NEXT_LOOK - 0.01)
        now += NEXT_LOOK
    guard.accepted(now)
    assert (guard.spread, guard.share) == (0.0, 1.0)
    assert now < 4


def test_answers_that_all_take_the_same_time_end_the_care_sooner() -> None:
    guard = Guard.careful()
    for number in range(ENOUGH):
        assert guard.spread == MOST_SPREAD
        guard.accepted(number / 100, 0.150 + 0.001 * (number == 3))
    assert guard.spread == 0.0


@pytest.mark.parametrize("took", [0.1, 0.5])
def test_a_slow_api_slows_no_lane_down(took: float) -> None:
    guard = Guard.careful()
    for number in range(400):
        guard.accepted(number / 100, took * (number % 7))
        assert guard.spread <= MOST_SPREAD
    assert guard.spread == 0.0


def test_the_first_refusal_gives_back_the_width_that_held() -> None:
    guard = Guard.careful()
    for now in (0.0, FIRST_LOOK, FIRST_LOOK + NEXT_LOOK):
        guard.accepted(now)
    assert guard.spread == MOST_SPREAD / 4
    guard.refused(FIRST_LOOK + NEXT_LOOK + 0.1)
    assert guard.spread == MOST_SPREAD / 2
    guard.refused(FIRST_LOOK + NEXT_LOOK + 0.2)
    guard.accepted(FIRST_LOOK + 2 * NEXT_LOOK)
    assert guard.spread == MOST_SPREAD / 2, "it is learned from now on, and no longer tried"
    guard.refused(FIRST_LOOK + NEXT_LOOK + 0.1 + 1)
    assert guard.spread == pytest.approx(MOST_SPREAD * 0.8)
