"""Replicas that share a state: deaths, restarts, silences and losses of Redis in the middle of the work."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.processes import email

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.consume.fleet import Fleet

JOBS = 160
RATE = ("--rate", "80", "--reconcile-lag", "3600")


def start_two(fleet: Fleet) -> None:
    fleet.warm(80.0)
    for _ in range(2):
        fleet.start(*RATE)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_redis_restarted_on_its_file_in_the_middle(new_fleet: Callable[..., Fleet], how: str) -> None:
    fleet = new_fleet()
    fleet.put(*[email(n) for n in range(JOBS)])
    start_two(fleet)
    fleet.until_sent(JOBS // 3)
    getattr(fleet.broker, how)()
    time.sleep(0.3)
    fleet.broker.start()
    fleet.until(lambda: fleet.open == 0, 40)
    fleet.end_all()
    assert len(fleet.books(JOBS)) <= 10
    assert fleet.sandbox.lanes["send"]["rejected_429"] == 0


def test_a_state_that_is_silent_gets_messages_back_in_time_and_comes_back_without_a_burst(
    new_fleet: Callable[..., Fleet],
) -> None:
    fleet = new_fleet(state_aof=True)
    fleet.put(*[email(n) for n in range(JOBS)])
    start_two(fleet)
    fleet.until_sent(JOBS // 3)
    fleet.state.pause()
    try:
        fleet.until(lambda: not any(one.ready for one in fleet.consumers))
        assert all(one.get("/livez")[0] == 200 for one in fleet.consumers)
        fleet.until(lambda: sum(one["times_delivered"] > 0 for one in fleet.pending()) <= 30, 15)
        seen = fleet.arrived
        time.sleep(1)
        assert fleet.arrived == seen, "nothing leaves that is not on record"
    finally:
        fleet.state.resume()
    fleet.until(lambda: all(one.ready for one in fleet.consumers))
    fleet.until(lambda: fleet.open == 0)
    fleet.end_all()
    assert fleet.books(JOBS) == set()


def test_a_replica_whose_state_is_silent_still_ends(new_fleet: Callable[..., Fleet]) -> None:
    """It would wait for the answer to its hand-over for ever."""
    fleet = new_fleet(state_aof=True)
    fleet.put(*[email(n) for n in range(JOBS)])
    fleet.warm(80.0)
    consumer = fleet.start(*RATE, "--grace", "2")
    fleet.until_sent(20)
    fleet.state.pause()
    try:
        time.sleep(0.5)
        start = time.monotonic()
        consumer.signal(signal.SIGTERM)
        assert consumer.wait() == 3
        assert time.monotonic() - start < 25
    finally:
        fleet.state.resume()
    assert fleet.most_in_any_second() <= 80


def test_an_operator_s_word_reaches_all_replicas(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet()
    config = fleet.folder / "sender.toml"
    config.write_text("[limits]\nrate = 80\n")
    fleet.put(*[email(n) for n in range(600)])
    fleet.warm(80.0)
    one, other = (fleet.start("--config", str(config), "--reconcile-lag", "3600") for _ in range(2))
    fleet.until_sent(60)
    one.signal(signal.SIGUSR1)
    fleet.until(lambda: rests(fleet, 1.0), 10)
    other.signal(signal.SIGUSR2)
    fleet.until(lambda: not rests(fleet, 0.3), 10)
    config.write_text("[limits]\nrate = 20\n")
    one.signal(signal.SIGHUP)
    other.signal(signal.SIGHUP)
    time.sleep(3)
    stamps = fleet.stamps()
    assert 10 <= sum(stamp > stamps[-1] - 1.0 for stamp in stamps) <= 20
    assert fleet.most_in_any_second() <= 80


def rests(fleet: Fleet, seconds: float) -> bool:
    before = fleet.arrived
    time.sleep(seconds)
    return fleet.arrived == before


def test_a_password_code_does_not_wait_behind_a_backfill(new_fleet: Callable[..., Fleet]) -> None:
    """High in a queue of its own, low by its field: over both replicas, and low keeps a part."""
    fleet = new_fleet("--rate-send", "100")
    fleet.put(*[email(n, priority="low") for n in range(1000)], stream="backfill")
    fleet.warm(80.0)
    urls = [fleet.url("backfill"), fleet.url("codes", "&priority=high")]
    for _ in range(2):
        fleet.start(*RATE, urls=urls)
    fleet.until_sent(80)
    put: dict[int, float] = {}
    for number in range(5000, 5020):
        put[number] = time.time()
        fleet.put(email(number), stream="codes")
        time.sleep(0.05)
    fleet.until(lambda: set(put) <= set(fleet.sandbox.numbers()))
    accepted = {m["payload"]["message_data"]["n"]: m["accepted_at"] for m in fleet.sandbox.messages}
    waits = sorted(accepted[number] - since for number, since in put.items())
    assert waits[len(waits) // 2] < 1.0, waits
    assert waits[-1] < 2.5, waits
    before = len(fleet.sandbox.numbers())
    fleet.put(*[email(number) for number in range(6000, 6400)], stream="codes")
    fleet.until(lambda: sum(number >= 6000 for number in fleet.sandbox.numbers()) >= 200)
    since = fleet.sandbox.numbers()[before:]
    low = sum(number < 5000 for number in since)
    assert low >= 0.05 * len(since) - 2, (low, len(since))
    assert low < len(since) / 2
    fleet.end_all()
