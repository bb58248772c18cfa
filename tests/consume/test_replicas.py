"""Replicas that share a state: deaths, restarts, silences and losses of Redis in the middle of the work."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.consume.fleet import Fleet
from tests.processes import email

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = 240
RATE = ("--rate", "80", "--reconcile-lag", "3600")


def start_two(fleet: Fleet, *arguments: str) -> None:
    for _ in range(2):
        fleet.start(*RATE, *arguments)


def books(fleet: Fleet, jobs: int = JOBS) -> set[str]:
    """Each job was accepted once, or is in doubt; returns the doubtful ones."""
    accepted = Counter(f"job-{number}" for number in fleet.sandbox.numbers())
    doubts = {name for name, letter in fleet.letters.items() if letter["reason"] == "in_doubt"}
    assert not {name for name, times in accepted.items() if times > 1}, "sent twice"
    assert set(accepted) | doubts == {f"job-{number}" for number in range(jobs)}, "lost"
    assert set(fleet.letters) == doubts
    assert fleet.most_in_any_second() <= 80
    return doubts


def end_all(fleet: Fleet) -> None:
    living = [one for one in fleet.consumers if one.process.poll() is None]
    for one in living:
        one.signal(signal.SIGTERM)
    assert {one.wait() for one in living} <= {0}, [one.told[-2000:] for one in living]


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
    end_all(fleet)
    assert len(books(fleet)) <= 10
    assert fleet.sandbox.lanes["send"]["rejected_429"] == 0


def test_a_dead_replica_s_part_is_taken_over_within_30_seconds(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("--latency", "100")
    fleet.put(*[email(n) for n in range(JOBS)])
    start_two(fleet)
    fleet.until_sent(JOBS // 3)
    fleet.consumers[0].kill()
    died = time.monotonic()
    fleet.until(lambda: fleet.open == 0 and len(books_so_far(fleet)) == JOBS, 31.5)
    assert time.monotonic() - died < 31
    end_all(fleet)
    doubts = books(fleet)
    assert 0 < len(doubts) <= 30, "what it had handed over, and nothing else"
    (survivor,) = [one for one in fleet.consumers[1:]]
    told = {line["id"] for line in survivor.outcomes if line["status"] == "in_doubt"}
    assert told == doubts, "reported by the living"


def books_so_far(fleet: Fleet) -> set[str]:
    return {f"job-{number}" for number in fleet.sandbox.numbers()} | set(fleet.letters)


def test_a_state_that_is_lost_leaves_doubts_and_a_window_of_silence(new_fleet: Callable[..., Fleet]) -> None:
    """The queue keeps what was given out; the state, on a server without a file, forgets all."""
    fleet = new_fleet(state_aof=False)
    fleet.put(*[email(n) for n in range(JOBS)])
    start_two(fleet)
    fleet.until_sent(JOBS // 3)
    before = len(fleet.stamps())
    fleet.state.kill()
    fleet.state.start()
    fleet.until(lambda: fleet.open == 0, 45)
    stamps = fleet.stamps()
    gap = max(second - first for first, second in pairwise(stamps))
    assert gap > 1.0, "nobody knows what was written: a window passes"
    assert len(stamps) > before
    end_all(fleet)
    doubts = books(fleet)
    assert {letter.get("code", "") for letter in fleet.letters.values()} <= {"state_lost", "interrupted", ""}
    assert doubts
    for one in fleet.consumers:
        assert any("state was lost" in line["event"] for line in one.log)


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
    end_all(fleet)
    assert books(fleet) == set()


def test_a_replica_whose_state_is_silent_still_ends(new_fleet: Callable[..., Fleet]) -> None:
    """It would wait for the answer to its hand-over for ever."""
    fleet = new_fleet(state_aof=True)
    fleet.put(*[email(n) for n in range(JOBS)])
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
    one, other = (fleet.start("--config", str(config), "--reconcile-lag", "3600") for _ in range(2))
    fleet.until_sent(60)
    one.signal(signal.SIGUSR1)
    fleet.until(lambda: rests(fleet, 1.0), 10)
    other.signal(signal.SIGUSR2)
    fleet.until(lambda: not rests(fleet, 0.3), 10)
    config.write_text("[limits]\nrate = 20\n")
    one.signal(signal.SIGHUP)
    other.signal(signal.SIGHUP)
    time.sleep(2.5)
    before = time.time()
    time.sleep(1.5)
    late = [stamp for stamp in fleet.stamps() if stamp > fleet.stamps()[-1] - 1.0]
    assert 10 <= len(late) <= 20, before
    end_all(fleet)
    assert fleet.most_in_any_second() <= 80


def rests(fleet: Fleet, seconds: float) -> bool:
    before = fleet.arrived
    time.sleep(seconds)
    return fleet.arrived == before


def test_a_password_code_does_not_wait_behind_a_backfill(new_fleet: Callable[..., Fleet]) -> None:
    """High in a queue of its own, low by its field: over both replicas, and low keeps a part."""
    fleet = new_fleet("--rate-send", "100")
    fleet.put(*[email(n, priority="low") for n in range(1000)], stream="backfill")
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
    end_all(fleet)


def test_a_restarted_consumer_says_what_it_gave_back(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet()
    fleet.put(*[email(n) for n in range(JOBS)])
    start_two(fleet)
    fleet.until_sent(40)
    first = fleet.consumers[0]
    start = time.monotonic()
    assert first.end() == 0
    assert time.monotonic() - start < 5
    told: dict[str, Any] = next(line for line in first.log if line["event"] == "drained")
    assert told["given_back"] > 0
    fleet.until(lambda: fleet.open == 0)
    end_all(fleet)
    assert books(fleet) == set()
    assert json.dumps(told)
