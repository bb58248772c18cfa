"""Stories that take half a minute, since a dead replica's part is taken over only then; see `ahead` in conftest."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.consume.fleet import Fleet
from tests.processes import email

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 200
RATE = ("--rate", "80", "--reconcile-lag", "3600")


def one_of_two_is_killed(folder: Path) -> None:
    """Its part is another's within 30 s: each job once, or reported in doubt."""
    with Fleet(folder, "--latency", "100") as fleet:
        start(fleet)
        fleet.consumers[0].kill()
        died = time.monotonic()
        fleet.until(lambda: fleet.open == 0, 45)
        took = time.monotonic() - died
        fleet.end_all()
        doubts = fleet.books(JOBS)
        assert 0 < len(doubts) <= 30, "what it had handed over, and nothing else"
        told = {line["id"] for line in fleet.consumers[1].outcomes if line["status"] == "in_doubt"}
        assert told == doubts, "reported by the living"
        assert took < 31, took
        assert fleet.most_in_any_second() <= 80


def the_state_is_lost_and_one_replica_with_it(folder: Path) -> None:
    """The queue keeps what was given out; the state, on a server without a file, forgets all."""
    with Fleet(folder, "--latency", "100", state_aof=False) as fleet:
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
    with Fleet(folder, "--latency", "100", state_aof=False) as fleet:
        start(fleet)
        fleet.state.kill()
        fleet.state.start()
        fleet.until(lambda: fleet.open == 0, 50)
        fleet.end_all()
        fleet.books(JOBS)
        assert fleet.most_in_any_second() <= 80


def start(fleet: Fleet) -> None:
    """Two replicas, in the middle of their work."""
    fleet.put(*[email(n) for n in range(JOBS)])
    fleet.warm(80.0)
    for _ in range(2):
        fleet.start(*RATE)
    fleet.until_sent(JOBS // 3)


ALL = (one_of_two_is_killed, the_state_is_lost_and_one_replica_with_it, the_state_is_lost_and_all_replicas_live)
