"""Four replicas on a Kafka topic and one state, with a rebalance every few seconds.

    python -m tests.campaigns.kafka --jobs 10000
    python -m tests.campaigns.kafka --jobs 3000 --only SIGTERM
    python -m tests.campaigns.kafka --jobs 3000 --only SIGSTOP

The first jobs are sent undisturbed. Then two more replicas come and go all the time, so that partitions move; and about
every ten seconds one of the four ends by SIGTERM or kill -9 and comes again, or the broker is restarted. SIGSTOP, only
where it is asked for, stops one for longer than the group waits for it. Then the books of both sides are held against
each other: lost, twice, in doubt, above the limit. `benchmarks/rebalances.py` writes what was seen into RESULTS.md.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.campaigns.fleet import KAFKA, keep
from tests.campaigns.replicas import LIMIT, REPLICAS, Books, Replicas
from tests.queues.brokers import Kafka
from tests.support.outbox_fleet import reached

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTITIONS: Final = 12
GUESTS: Final = 2
STAY: Final = (4.0, 8.0)
"""Seconds that a guest stays, and stays away: with two of them partitions move every 3 s."""
EVERY: Final = 10.0
"""Seconds between two mishaps."""
GENTLE: Final = ("SIGTERM",)
ROUGH: Final = ("SIGTERM", "kill -9", "SIGTERM", "broker restarts")
STOPPED: Final = 13.0
"""Seconds of a SIGSTOP: the group takes a reader for dead after 10."""
CALM: Final = 1500
"""Jobs that are sent undisturbed."""
OVER: Final = 0.9
"""Share of the jobs after which nothing more is broken."""
STRETCH: Final = 10.0
"""Seconds over which the share of the limit is counted."""


@dataclass(frozen=True)
class Play:
    """What was seen of one campaign."""

    books: Books
    calm: float
    """Share of the limit before anything was disturbed."""
    disturbed: float
    """The same in the best stretch with rebalances all the time."""

    @property
    def good(self) -> bool:
        """Whether all of it held; a replica that ends by SIGTERM leaves nothing in doubt."""
        killed = self.books.done["kill -9"] or self.books.done["had to be killed"]
        return self.books.good and bool(killed or not self.books.doubted)


class Guest(threading.Thread):
    """A replica that comes and goes until it is told to stay away."""

    def __init__(self, replicas: Replicas, number: int, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.visits = 0
        self._replicas, self._number, self._chance = replicas, number, chance
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            self._replicas.start(self._number)
            self.visits += 1
            self._over.wait(self._chance.uniform(*STAY))
            self._replicas.signal(self._number, signal.SIGTERM)
            self._replicas.wait(self._number)
            self._over.wait(self._chance.uniform(*STAY) / 2)

    def end(self) -> None:
        """It leaves for good."""
        self._over.set()
        self.join()
        self._replicas.forget(self._number)


def play(jobs: int, seed: int, mishaps: Sequence[str]) -> Play:
    """From the first job to the books."""
    Kafka.partitions = PARTITIONS
    with tempfile.TemporaryDirectory() as folder, Replicas(Path(folder), KAFKA, jobs, None) as replicas:
        replicas.fill()
        replicas.start_all()
        replicas.until_arrived(min(CALM, jobs // 2))
        begun = time.time()
        done = disturb(replicas, random.Random(seed), mishaps)
        ended = time.time()
        replicas.until_over()
        statuses = replicas.drain()
        books, stamps = replicas.books(), replicas.stamps()
        books.done = done + Counter({"unclean ends": sum(map(bool, statuses)), "had to be killed": replicas.stuck})
        found = Play(
            books, reached([one for one in stamps if one < begun], LIMIT, STRETCH),
            reached([one for one in stamps if begun <= one < ended], LIMIT, STRETCH),
        )
        if not found.good:
            keep(Path(folder), KAFKA, seed)
        return found


def disturb(replicas: Replicas, chance: random.Random, mishaps: Sequence[str]) -> Counter[str]:
    """Guests come and go, and something happens every ten seconds, until most jobs are sent."""
    guests = [Guest(replicas, REPLICAS + number, random.Random(chance.random())) for number in range(GUESTS)]
    for guest in guests:
        guest.start()
    done: Counter[str] = Counter()
    for name in cycle(mishaps):
        time.sleep(EVERY * chance.uniform(0.8, 1.2))
        if replicas.arrived >= replicas.jobs * OVER:
            break
        sys.stderr.write(f"  {replicas.arrived:,} requests; {name}\n")
        break_something(replicas, chance.randrange(REPLICAS), name)
        done[name] += 1
    for guest in guests:
        guest.end()
    done["replicas that came and went"] = sum(guest.visits for guest in guests)
    return done


def break_something(replicas: Replicas, number: int, name: str) -> None:
    """And mend it."""
    if name == "broker restarts":
        replicas.restart_broker()
        return
    if name == "SIGSTOP":
        replicas.signal(number, signal.SIGSTOP)
        time.sleep(STOPPED)
        replicas.signal(number, signal.SIGCONT)
        return
    replicas.signal(number, signal.SIGKILL if name == "kill -9" else signal.SIGTERM)
    replicas.wait(number)
    replicas.start(number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=(*sorted(set(ROUGH)), "SIGSTOP"), help="nothing but this")
    args = parser.parse_args()
    found = play(args.jobs, args.seed, (args.only,) if args.only else ROUGH)
    sys.stdout.write(
        f"{found.books}\n{'share of the limit, calm':>30}  {found.calm:.2%}\n{'with rebalances':>30}  "
        f"{found.disturbed:.2%}\n{'good' if found.good else 'BAD'}\n"
    )
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
