"""Replicas that share a state: deaths, restarts, silences and losses of Redis in the middle of the work.

Some take half a minute, since a dead replica's part is taken over only then: see `test_the_stories`.
"""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.support.fleet import Fleet
from tests.support.outbox_fleet import OutboxFleet
from tests.support.processes import email

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 320
RATE = ("--rate", "80", "--reconcile-lag", "3600")
DEAD_AFTER = 22.0


def one_of_two_is_killed(folder: Path) -> None:
    """Its part is another's within 30 s: each job once, or reported in doubt."""
    with Fleet(folder, "--latency", "300") as fleet:
        start(fleet)
        fleet.consumers[0].kill()
        died = time.monotonic()
        fleet.until(lambda: fleet.open == 0, 45)
        took = time.monotonic() - died
        fleet.end_all()
        doubts = fleet.books(JOBS)
        assert len(doubts) <= 40, "what it had handed over, and nothing else"
        told = {line["id"] for line in fleet.consumers[1].outcomes if line["status"] == "in_doubt"}
        assert told == doubts, "reported by the living"
        assert took < 31, took
        assert fleet.most_in_any_second() <= 80


def the_state_is_lost_and_one_replica_with_it(folder: Path) -> None:
    """The queue keeps what was given out; the state, on a server without a file, forgets all."""
    with Fleet(folder, "--latency", "300", state_aof=False) as fleet:
        start(fleet)
        fleet.consumers[0].kill()
        fleet.state.kill()
        fleet.state.start()
        fleet.until(lambda: fleet.open == 0, 50)
        fleet.end_all()
        doubts = fleet.books(JOBS)
        assert doubts, "nobody knows of the dead replica's whether they were sent"
        assert "state_lost" in {letter.get("code") for letter in fleet.letters.values()}
        assert max(second - first for first, second in pairwise(fleet.stamps())) > 1.0, "a window passes"
        assert any("state was lost" in line["event"] for line in fleet.consumers[1].log)
        assert fleet.most_in_any_second() <= 80


def the_state_is_lost_and_all_replicas_live(folder: Path) -> None:
    """What they had in hand they say again: not one job is in doubt, and none is sent twice."""
    with Fleet(folder, "--latency", "300", state_aof=False) as fleet:
        start(fleet)
        fleet.state.kill()
        fleet.state.start()
        fleet.until(lambda: fleet.open == 0, 50)
        fleet.end_all()
        fleet.books(JOBS)
        assert fleet.most_in_any_second() <= 80


def redis_ends_and_comes_back_with_its_file(folder: Path) -> None:
    """The lanes wait a window, and go on."""
    _restart(folder, "stop")


def redis_is_killed_and_comes_back_with_its_file(folder: Path) -> None:
    """The same with kill -9."""
    _restart(folder, "kill")


def _restart(folder: Path, how: str) -> None:
    with Fleet(folder) as fleet:
        start(fleet)
        getattr(fleet.broker, how)()
        time.sleep(0.3)
        fleet.broker.start()
        fleet.until(lambda: fleet.open == 0, 50)
        fleet.end_all()
        assert len(fleet.books(JOBS)) <= 10
        assert fleet.most_in_any_second() <= 80
        assert fleet.sandbox.lanes["send"]["rejected_429"] == 0


def the_state_is_silent(folder: Path) -> None:
    """Messages go back in time, nothing leaves that is not on record, and no burst follows."""
    with Fleet(folder, state_aof=True) as fleet:
        start(fleet)
        fleet.state.pause()
        try:
            fleet.until(lambda: not any(one.ready for one in fleet.consumers))
            assert all(one.get("/livez")[0] == 200 for one in fleet.consumers)
            fleet.until(lambda: sum(one["times_delivered"] > 0 for one in fleet.pending()) <= 30, 15)
            seen = fleet.arrived
            time.sleep(1)
            assert fleet.arrived == seen
        finally:
            fleet.state.resume()
        fleet.until(lambda: all(one.ready for one in fleet.consumers))
        fleet.until(lambda: fleet.open == 0)
        fleet.end_all()
        assert fleet.books(JOBS) == set()
        assert fleet.most_in_any_second() <= 80


def a_replica_ends_though_its_state_is_silent(folder: Path) -> None:
    """It waited for the answer to its hand-over for ever."""
    with Fleet(folder, state_aof=True) as fleet:
        start(fleet, "--grace", "2")
        consumer = fleet.consumers[0]
        fleet.state.pause()
        try:
            time.sleep(0.5)
            begun = time.monotonic()
            consumer.signal(signal.SIGTERM)
            assert consumer.wait() == 3
            assert time.monotonic() - begun < 25
        finally:
            fleet.state.resume()


def all_replicas_die_and_the_state_is_lost(folder: Path) -> None:
    """Nobody is left who saw the state: what the queue gave out before it began tells that it was lost."""
    with Fleet(folder, "--latency", "300", state_aof=False) as fleet:
        start(fleet)
        for one in list(fleet.consumers):
            one.kill()
        fleet.state.kill()
        fleet.state.start()
        fleet.start(*RATE)
        fleet.until(lambda: fleet.open == 0, 45)
        fleet.end_all()
        fleet.books(JOBS)
        assert "state_lost" in {letter.get("code") for letter in fleet.letters.values()}


def a_replica_sleeps_until_it_is_taken_for_dead(folder: Path) -> None:
    """The state was not lost: it begins anew, and no job is in doubt for that but those it had begun."""
    with Fleet(folder, "--latency", "100") as fleet:
        start(fleet)
        sleeper, other = fleet.consumers
        sleeper.signal(signal.SIGSTOP)
        asleep = time.monotonic()
        fleet.until(lambda: fleet.open == 0 and time.monotonic() > asleep + DEAD_AFTER + 2, 60)
        sleeper.signal(signal.SIGCONT)
        fleet.until(lambda: any("joined anew" in line["event"] for line in sleeper.log))
        fleet.until(lambda: sleeper.ready)
        fleet.put(*[email(n) for n in range(JOBS, JOBS + 40)])
        fleet.until(lambda: fleet.open == 0)
        fleet.end_all()
        assert len(fleet.books(JOBS + 40)) <= 40
        assert "state_lost" not in {letter.get("code") for letter in fleet.letters.values()}
        assert not any("state was lost" in line["event"] for line in other.log)
        assert fleet.most_in_any_second() <= 80


def a_replica_is_killed_and_the_outbox_s_server_after_it(folder: Path) -> None:
    """What was committed is sent once, or told to be in doubt; what was rolled back never is."""
    with OutboxFleet(folder, "--latency", "300", rate=80.0) as fleet:
        fleet.write_orders(0, JOBS)
        for _ in range(2):
            fleet.start("--reconcile-lag", "3600")
        fleet.until(lambda: fleet.arrived >= JOBS // 4)
        fleet.consumers[0].kill()
        fleet.server.kill()
        fleet.server.start()
        fleet.write_orders(JOBS, JOBS + 30, seed=2)
        fleet.until(lambda: fleet.open == 0)
        assert set(fleet.end_all()) == {0}
        books = fleet.books()
        assert 0 < len(books.committed) < JOBS + 30
        assert (books.lost, books.twice, books.never_committed, books.told_wrong) == (set(), set(), set(), set())
        assert len(books.letters) <= 40, "what it had handed over, and nothing else"
        assert books.most <= 80


def start(fleet: Fleet, *arguments: str) -> None:
    """Two replicas, in the middle of their work."""
    fleet.put(*[email(n) for n in range(JOBS)])
    fleet.warm(80.0)
    for _ in range(2):
        fleet.start(*RATE, *arguments)
    fleet.until_sent(JOBS // 3)


ALL = (
    one_of_two_is_killed, all_replicas_die_and_the_state_is_lost, the_state_is_lost_and_one_replica_with_it,
    the_state_is_lost_and_all_replicas_live,
    a_replica_sleeps_until_it_is_taken_for_dead, redis_ends_and_comes_back_with_its_file,
    redis_is_killed_and_comes_back_with_its_file, a_replica_is_killed_and_the_outbox_s_server_after_it,
    the_state_is_silent, a_replica_ends_though_its_state_is_silent,
)
