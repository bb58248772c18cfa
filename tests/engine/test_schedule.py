"""Windows, caps and ramps on virtual time: a lane over days takes no time here."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from sender.config.settings import Settings
from sender.engine import watchdog
from sender.engine.pacing.ramp import Ramp
from sender.engine.pacing.schedule import Schedule
from sender.errors import UsageError
from tests.engine.world import OK, World, give, make_lane
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import most_in_any, run_virtual

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is under way for days: the lane need not look once a second whether it stalls."""
    monkeypatch.setattr(watchdog, "IDLE", 60.0)


def answer(number: int, now: float) -> Any:
    return 0.05, OK


def run(begin: str, count: int, settings: Settings, ledger: MemoryLedger | None = None, **more: Any) -> list[datetime]:
    """When each request was written, by the clocks in Berlin; `stop_after` are seconds."""
    start = datetime.fromisoformat(begin).timestamp()
    world = World(answer)
    if ledger is not None:
        world.ledger = ledger
    written: list[datetime] = []

    async def body(loop: VirtualLoop) -> None:
        def wall() -> float:
            return start + loop.time() - 1000

        schedule = Schedule(settings, wall)
        schedule.open(world.ledger)
        lane = make_lane(world, settings.rate, wall)
        lane._context.schedule = schedule
        give(lane, count)
        running = asyncio.create_task(lane.run())
        drained = asyncio.create_task(lane.drained())
        await asyncio.wait({drained}, timeout=more.get("stop_after"))
        drained.cancel()
        assert "handed_over" not in await world.ledger.count(), "a kill while it waits would leave them in doubt"
        lane.stop()
        await running
        written.extend(datetime.fromtimestamp(start + instant - 1000, BERLIN) for instant in world.written)

    run_virtual(body)
    assert not world.halts
    return written


def test_it_waits_for_the_window_and_ends_with_it() -> None:
    settings = Settings(window="09:00-18:00", days="mon-fri", timezone="Europe/Berlin", rate=1)
    written = run("2026-11-20T17:59:30+01:00", 100, settings)
    assert written[0].hour == 17
    assert len(written) == 100
    days = Counter(one.date().isoformat() for one in written)
    assert set(days) == {"2026-11-20", "2026-11-23"}, "a weekend is between"
    assert 25 <= days["2026-11-20"] <= 30
    assert all(9 <= one.hour < 18 for one in written)
    assert written[days["2026-11-20"]].strftime("%H:%M:%S") == "09:00:00"


@pytest.mark.parametrize("begin", ["2026-10-24T20:00:00+02:00", "2027-03-27T20:00:00+01:00"])
def test_the_night_in_which_clocks_change(begin: str) -> None:
    settings = Settings(window="01:30-03:30", timezone="Europe/Berlin", rate=0.2)
    written = run(begin, 1800, settings)
    assert len(written) == 1800
    assert all("01:30" <= one.strftime("%H:%M") < "03:30" for one in written)


def test_a_cap_holds_over_days() -> None:
    settings = Settings(daily_cap=250, timezone="Europe/Berlin", rate=100)
    written = run("2026-11-20T23:59:50+01:00", 600, settings)
    days = Counter(one.date().isoformat() for one in written)
    assert days == {"2026-11-20": 250, "2026-11-21": 250, "2026-11-22": 100}
    stamps = [one.timestamp() for one in written]
    assert most_in_any(1.0, stamps) <= 100


def test_a_cap_holds_over_restarts_and_kills() -> None:
    ledger, settings = MemoryLedger(), Settings(daily_cap=50, rate=10)
    assert len(run("2026-11-20T10:00:00+00:00", 30, settings, ledger)) == 30
    again = run("2026-11-20T12:00:00+00:00", 90, settings, ledger, stop_after=3600)
    assert len(again) == 20
    assert len(run("2026-11-20T20:00:00+00:00", 10, settings, ledger, stop_after=3600)) == 0
    assert len(run("2026-11-21T00:00:01+00:00", 10, settings, ledger)) == 10


def test_a_kill_never_lets_a_day_have_more() -> None:
    ledger, sent = MemoryLedger(), 0

    async def body(loop: VirtualLoop) -> None:
        nonlocal sent
        pace: Any = None
        for _ in range(40):
            schedule = Schedule(Settings(daily_cap=60), lambda: 1_800_000_000 + loop.time())
            schedule.open(ledger)  # type: ignore[arg-type]
            if await schedule.admit("send", pace) <= loop.time():
                schedule.started("send")  # and then it is killed: nothing is given back
                sent += 1

    run_virtual(body)
    assert sent == 20, "each took three of the 60, and used one"


def test_two_replicas_share_a_cap() -> None:
    ledger, settings = MemoryLedger(), Settings(daily_cap=100, rate=10)
    counts: list[int] = []

    async def body(loop: VirtualLoop) -> None:
        schedules = [Schedule(settings, lambda: 1_800_000_000 + loop.time()) for _ in range(3)]
        pace: Any = None
        for schedule in schedules:
            schedule.open(ledger)  # type: ignore[arg-type]

        async def use(schedule: Schedule) -> None:
            number = 0
            while await schedule.admit("send", pace) <= loop.time():
                schedule.started("send")
                number += 1
                await asyncio.sleep(0.01)
            counts.append(number)

        await asyncio.gather(*map(use, schedules))

    run_virtual(body)
    assert sum(counts) == 100
    assert min(counts) > 0


def test_a_clock_that_is_set_back_gives_no_second_day() -> None:
    ledger, settings = MemoryLedger(), Settings(daily_cap=20, rate=10)
    assert len(run("2026-11-21T00:00:10+00:00", 40, settings, ledger, stop_after=3600)) == 20
    assert len(run("2026-11-20T23:50:00+00:00", 10, settings, ledger, stop_after=300)) == 0


def test_a_ramp_rises_evenly_and_never_above_the_limit() -> None:
    settings = Settings(ramp="10/s-100/s:60s", rate=100)
    written = [one.timestamp() for one in run("2026-11-20T10:00:00+00:00", 6000, settings)]
    begin = written[0]
    per_second = Counter(int(one - begin) for one in written)
    assert per_second[0] <= 12
    assert 50 <= per_second[30] <= 57
    assert per_second[70] >= 98
    assert most_in_any(1.0, written) <= 100
    for second in range(60):
        assert most_in_any(1.0, [one for one in written if one < begin + second]) <= 10 + 1.5 * second + 1


@pytest.mark.parametrize("text", ["10-100", "100/s-10/s:30m", "0/s-10/s:1m", "10/s-100/s:0s", "10/s-200/s:30m", "x"])
def test_another_ramp_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--ramp"):
        Ramp.parse(text, 100)
