"""What a state forgets while senders end or die: nothing of it is sent twice. Stories as in `stories`."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.fleet import Fleet, until
from tests.support.processes import email
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = 400
RATE = ("--rate", "80", "--reconcile-lag", "3600")


def a_drain_while_the_state_is_away_gives_back_nothing_that_may_have_been_sent(folder: Path) -> None:
    """57 of 200 were sent twice: they went back uncounted, and the state that knew them was lost after that."""
    with Fleet(folder, "--rate-send", "100000", "--latency", "500", state_aof=False) as fleet:
        fleet.put(*[email(n) for n in range(200)])
        fleet.warm(80.0)
        first = fleet.start(*RATE, "--grace", "1")
        fleet.until_sent(60)
        fleet.state.pause()
        time.sleep(1)
        first.signal(signal.SIGTERM)
        assert first.wait() == 3
        fleet.state.kill()
        fleet.state.start()
        fleet.start(*RATE)
        fleet.until(lambda: fleet.open == 0, 60)
        fleet.end_all()
        doubts = fleet.books(200)
        assert doubts, "nobody knows of them"
        assert {fleet.letters[name]["code"] for name in doubts} <= {"state_lost", "interrupted"}


@contextmanager
def follower(fleet: Fleet) -> Iterator[RedisServer]:
    """A replica of the fleet's Redis that has all of it."""
    folder: Path = fleet.folder / "follower"
    folder.mkdir()
    server = RedisServer(folder).start()
    try:
        server.do("REPLICAOF", "127.0.0.1", fleet.broker.port)
        until(lambda: server.do("INFO", "replication")["master_link_status"] == "up")
        yield server
    finally:
        server.stop()


def fail_over(fleet: Fleet, server: RedisServer, behind: float) -> None:
    """It takes the master's place, without the master's last seconds."""
    server.do("REPLICAOF", "NO", "ONE")
    time.sleep(behind)
    fleet.broker.kill()
    server.do("CONFIG", "SET", "port", fleet.broker.port)
    server.port = fleet.broker.port


def a_failover_to_a_replica_that_is_seconds_behind_sends_nothing_twice(folder: Path) -> None:
    """178 were sent twice: who lived told the new master of its last three seconds, and one of them alone did."""
    with Fleet(folder, "--rate-send", "100000", "--latency", "100") as fleet, follower(fleet) as server:
        fleet.put(*[email(n) for n in range(JOBS)])
        fleet.warm(80.0)
        for _ in range(2):
            fleet.start(*RATE)
        fleet.until_sent(40)
        time.sleep(1)
        fail_over(fleet, server, behind=3.0)
        fleet.until(lambda: fleet.open == 0, 90)
        fleet.end_all()
        assert len(fleet.books(JOBS)) <= 40, "each knows what it did"
        assert any("has forgotten its last moments" in line["event"] for one in fleet.consumers for line in one.log)
        assert fleet.most_in_any_second() <= 80


def a_failover_in_which_a_sender_dies_leaves_in_doubt_what_that_one_may_have_sent(folder: Path) -> None:
    """26 were sent twice: nobody knew of the last moments of the dead one."""
    with Fleet(folder, "--rate-send", "100000", "--latency", "100") as fleet, follower(fleet) as server:
        fleet.put(*[email(n) for n in range(JOBS)])
        fleet.warm(80.0)
        for _ in range(2):
            fleet.start(*RATE)
        fleet.until_sent(120)
        server.do("REPLICAOF", "NO", "ONE")
        time.sleep(0.3)
        fleet.consumers[0].kill()
        fail_over(fleet, server, behind=0)
        fleet.until(lambda: fleet.open == 0, 90)
        fleet.end_all()
        fleet.books(JOBS)
        assert fleet.most_in_any_second() <= 80


ALL = (
    a_failover_to_a_replica_that_is_seconds_behind_sends_nothing_twice,
    a_failover_in_which_a_sender_dies_leaves_in_doubt_what_that_one_may_have_sent,
    a_drain_while_the_state_is_away_gives_back_nothing_that_may_have_been_sent,
)
