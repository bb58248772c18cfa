"""Replicas that share a state: what an operator says, and what goes first."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.support.processes import email

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fleet import Fleet

RATE = ("--rate", "80", "--reconcile-lag", "3600")


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
    low = sorted(at for number, at in accepted.items() if number < 5000)
    passed = sorted(sum(since < at < accepted[number] for at in low) for number, since in put.items())
    assert passed[len(passed) // 2] < 100, passed
    assert passed[-1] < 300, "of a thousand that wait at most some go before it, however slow the machine is"
    before = len(fleet.sandbox.numbers())
    fleet.put(*[email(number) for number in range(6000, 6400)], stream="codes")
    fleet.until(lambda: sum(number >= 6000 for number in fleet.sandbox.numbers()) >= 200)
    since = fleet.sandbox.numbers()[before:]
    low = sum(number < 5000 for number in since)
    assert low >= 0.05 * len(since) - 2, (low, len(since))
    assert low < len(since) / 2
    fleet.end_all()
