"""Hours and days where people live, over the nights in which clocks are put on and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.engine.pacing.calendar import Calendar
from sender.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
                         "America/Sao_Paulo", "Asia/Beirut"])
times = st.builds(clock, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def shown(span: tuple[float, float]) -> tuple[str, ...]:
    return tuple(datetime.fromtimestamp(one, UTC).strftime("%a %d %H:%M") for one in span)


def test_office_hours() -> None:
    calendar = Calendar.parse("09:00-18:00", "mon-fri", "Europe/Berlin")
    assert shown(calendar.span(at("2026-11-20T12:00:00Z"))) == ("Fri 20 08:00", "Fri 20 17:00")
    assert shown(calendar.span(at("2026-11-20T17:00:00Z"))) == ("Mon 23 08:00", "Mon 23 17:00")
    assert shown(calendar.span(at("2026-07-17T06:59:00Z"))) == ("Fri 17 07:00", "Fri 17 16:00")


def test_over_midnight_the_day_is_the_one_on_which_it_begins() -> None:
    calendar = Calendar.parse("22:00-06:00", "fri", "UTC")
    assert shown(calendar.span(at("2026-11-21T05:59:00Z"))) == ("Fri 20 22:00", "Sat 21 06:00")
    assert shown(calendar.span(at("2026-11-21T06:00:00Z"))) == ("Fri 27 22:00", "Sat 28 06:00")


def test_days_over_the_week_and_a_whole_day() -> None:
    calendar = Calendar.parse("00:00-24:00", "sat-mon", "UTC")
    assert calendar.days == {5, 6, 0}
    assert shown(calendar.span(at("2026-11-20T12:00:00Z"))) == ("Sat 21 00:00", "Sun 22 00:00")
    assert Calendar.parse("", "", "UTC").always
    assert not Calendar.parse("", "mon", "UTC").always


def test_when_clocks_are_put_on_hours_that_are_skipped_are_not_sent_in() -> None:
    before = at("2027-03-27T22:00:00Z")
    assert shown(Calendar.parse("02:15-02:45", "", "Europe/Berlin").span(before)) == ("Mon 29 00:15", "Mon 29 00:45")
    assert shown(Calendar.parse("01:30-04:00", "", "Europe/Berlin").span(before)) == ("Sun 28 00:30", "Sun 28 02:00")
    assert shown(Calendar.parse("09:00-18:00", "", "Europe/Berlin").span(before)) == ("Sun 28 07:00", "Sun 28 16:00")


def test_when_clocks_are_put_back_it_is_never_open_outside_of_its_hours() -> None:
    before = at("2026-10-24T21:00:00Z")
    assert shown(Calendar.parse("02:30-05:00", "", "Europe/Berlin").span(before)) == ("Sun 25 01:30", "Sun 25 04:00")
    assert shown(Calendar.parse("01:00-02:30", "", "Europe/Berlin").span(before)) == ("Sat 24 23:00", "Sun 25 00:30")


@given(zones, times, times, st.integers(1_750_000_000, 1_850_000_000), st.sampled_from(["", "mon-fri", "sun"]))
def test_open_means_that_clocks_there_show_it(zone: str, begin: clock, end: clock, now: int, days: str) -> None:
    calendar = Calendar.parse(f"{begin:%H:%M}-{end:%H:%M}", days, zone)
    if calendar.always:
        return
    opening, closing = calendar.span(now)
    assert closing > max(now, opening)
    assert opening - now < 8.1 * 86400 or days == "sun"
    step = max(1.0, (closing - opening) / 50)
    instant = opening
    while instant < closing:
        there = datetime.fromtimestamp(instant, ZoneInfo(zone)).time()
        assert (begin <= there < end) if begin < end else (there >= begin or there < end), datetime.fromtimestamp(
            instant, ZoneInfo(zone)
        )
        instant += step


@given(zones, st.integers(1_750_000_000, 1_850_000_000))
def test_a_day_ends_where_the_next_begins(zone: str, now: int) -> None:
    calendar = Calendar.parse("", "", zone)
    day, ends = calendar.day(now)
    assert now < ends <= now + 25 * 3600
    assert calendar.day(ends - 1)[0] == day
    assert calendar.day(ends)[0] == (datetime.fromisoformat(day) + timedelta(1)).date().isoformat()


@pytest.mark.parametrize(("window", "days", "zone", "option"), [
    ("9-18", "", "UTC", "--window"), ("25:00-26:00", "", "UTC", "--window"), ("09:00-18:60", "", "UTC", "--window"),
    ("", "monday", "UTC", "--days"), ("", "mon-", "UTC", ""), ("", "", "Berlin", "--timezone"),
    ("", "", "../etc/passwd", "--timezone"),
])
def test_what_is_none_is_refused(window: str, days: str, zone: str, option: str) -> None:
    if option:
        with pytest.raises(UsageError, match=option):
            Calendar.parse(window, days, zone)
    else:
        assert Calendar.parse(window, days, zone).days == {0}
