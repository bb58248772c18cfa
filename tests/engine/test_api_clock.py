"""What time it is at the API, whatever happens to our own clock."""

from __future__ import annotations

from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from sender.engine.api_clock import STEP, ApiClock
from sender.engine.pacing.pacer import Pacer
from sender.session.opening import wait_out
from tests.support.virtual_time import run_virtual

NOW = 1_800_000_000.0


def play(body: Any) -> None:
    """`body(clock, ours, loop)`: `ours.ahead` may be changed; the API's time is `NOW + loop.time()`."""

    async def whole(loop: Any) -> None:
        ours = SimpleNamespace(ahead=0.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sender.engine.api_clock._since_boot", loop.time)
            await body(ApiClock(lambda: NOW + loop.time() + ours.ahead), ours, loop)

    run_virtual(whole)


def date(loop: Any) -> str:
    return formatdate(NOW + loop.time(), usegmt=True)


def test_the_api_is_believed_and_not_our_clock() -> None:
    async def body(clock: ApiClock, ours: Any, loop: Any) -> None:
        assert clock.ahead is None
        clock.observe(date(loop))
        assert clock.ahead == pytest.approx(0, abs=1)
        for step in (600.0, -600.0, -86400.0):
            ours.ahead = step
            assert clock.now() == pytest.approx(NOW + loop.time(), abs=1)
            assert clock.ahead is None, "nobody has told it since"
            clock.observe(date(loop))
            assert clock.ahead == pytest.approx(-step, abs=STEP)

    play(body)


@pytest.mark.parametrize("odd", [None, "", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT", "1"])
def test_a_date_that_says_nothing_is_left_out(odd: str | None) -> None:
    async def body(clock: ApiClock, ours: Any, loop: Any) -> None:
        clock.observe(odd)
        assert clock.ahead is None

    play(body)


def test_a_reading_is_worth_nothing_when_the_clock_was_set_since() -> None:
    async def body(clock: ApiClock, ours: Any, loop: Any) -> None:
        clock.observe(date(loop))
        steps, marks = clock.steps, clock.marks()
        assert clock.ahead_since(steps) == pytest.approx(0, abs=1)
        ours.ahead = 5.0
        clock.observe(date(loop))
        assert clock.ahead_since(steps) is None
        assert clock.marks_since(steps) is None
        assert clock.ahead_then(marks) == pytest.approx(0, abs=1), "it was known then"

    play(body)


@pytest.mark.parametrize("step", [0.0, 600.0, -5.0])
def test_what_was_not_known_then_is_found_out_later_unless_the_clock_was_set(step: float) -> None:
    async def body(clock: ApiClock, ours: Any, loop: Any) -> None:
        marks = clock.marks()
        assert marks["ahead"] is None
        ours.ahead = step
        loop.stall(50)
        later = ApiClock(clock.wall)
        later.observe(date(loop))
        assert (later.ahead_then(marks) is None) == bool(step)
        assert later.ahead_then({}) is None, "a ledger of an earlier version"

    play(body)


@pytest.mark.parametrize("ago", [0.0, 4.0, 8.0, 4000.0, -700.0])
def test_after_a_kill_each_lane_waits_for_its_whole_window(ago: float) -> None:
    """The trigger lane wrote 0.62 s after the last request of the killed run, which was handed over long before."""

    async def body(clock: ApiClock, ours: Any, loop: Any) -> None:
        import time

        for clean, longest in ((False, 5.0), (True, min(5.0, max(0.0, 6.0 - ago)) if ago < 5 else 0.0)):
            pacers = {"trigger": Pacer(0.2), "send": Pacer(100)}
            ledger: Any = SimpleNamespace(last_hand_over=time.time() - ago, was_clean=clean)
            workspace: Any = SimpleNamespace(pacers=pacers)
            wait_out(ledger, workspace)
            assert max(0.0, pacers["trigger"].paused_until - loop.time()) == pytest.approx(longest, abs=0.2)

    play(body)
