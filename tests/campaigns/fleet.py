"""Four replicas on one queue and one state, and everything that can go wrong with them, at random.

    python -m tests.campaigns.fleet --jobs 10000 --broker redis

Kill -9, SIGTERM, pause, rotation of the key, restart of the broker, failover of the state, partitions, a clock that is
slewed: one after another, for as long as there are jobs; then everything heals, and the books of both sides are held
against each other. A verdict for each broker: lost, twice, above the limit. What this machine cannot do (partitions
need root and iptables, slewed clocks a C compiler) is said and left out.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaigns.hosts import SERVICES, Hosts, unavailable
from tests.campaigns.replicas import LIMIT, REPLICAS, Replicas
from tests.campaigns.state_pair import clock_library
from tests.queues.brokers import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.campaigns.replicas import Books

KAFKA = "kafka"
"""Its brokers tell clients where they are, which holds on one host alone: nothing is cut off."""
BREATH = (2.0, 6.0)
"""Seconds between two mishaps."""
LASTS = (1.0, 12.0)
"""Seconds of a partition."""
SLEWS = (-1000, -500, -200, 200, 500, 1000)
"""Millionths."""


class Mishaps:
    """Each by its name; what it breaks it mends."""

    def __init__(self, replicas: Replicas, chance: random.Random) -> None:
        self._replicas = replicas
        self._chance = chance
        self.all: dict[str, Callable[[], None]] = {
            "kill -9": self.kill, "SIGTERM": self.terminate, "pause": self.pause, "key rotations": self.rotate,
            "broker restarts": replicas.restart_broker, "state failovers": replicas.state.fail_over,
        }
        if clock_library() is not None:
            self.all["clock slews"] = self.slew
        if replicas.hosts is not None:
            self.all |= {"one host cut off": self.cut_one, "a service cut off": self.cut_all}

    def kill(self) -> None:
        number = self._any()
        self._replicas.signal(number, signal.SIGKILL)
        self._again(number)

    def terminate(self) -> None:
        number = self._any()
        self._replicas.signal(number, signal.SIGTERM)
        self._again(number)

    def pause(self) -> None:
        """One replica is told to pause, another to go on."""
        self._replicas.signal(self._any(), signal.SIGUSR1)
        time.sleep(self._chance.uniform(*BREATH))
        self._replicas.signal(self._any(), signal.SIGUSR2)

    def rotate(self) -> None:
        self._replicas.rotate_key()

    def slew(self) -> None:
        self._replicas.state.slew(self._chance.choice(SLEWS))

    def cut_one(self) -> None:
        self._cut([self._any()])

    def cut_all(self) -> None:
        self._cut(range(REPLICAS))

    def _cut(self, numbers: range | list[int]) -> None:
        hosts, service = self._replicas.hosts, self._chance.choice(SERVICES)
        assert hosts is not None
        for number in numbers:
            hosts.cut(number, service)
        time.sleep(self._chance.uniform(*LASTS))
        hosts.mend(numbers)

    def _any(self) -> int:
        return self._chance.randrange(REPLICAS)

    def _again(self, number: int) -> None:
        """As an orchestrator does."""
        self._replicas.wait(number)
        time.sleep(self._chance.uniform(0, 3))
        self._replicas.start(number)


def torture(broker: str, jobs: int, seed: int, *, hosts: bool, only: list[str]) -> Books:
    """One broker's run, from the first job to the books."""
    chance = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder, Hosts(REPLICAS) if hosts else nullcontext() as net,
        Replicas(Path(folder), broker, jobs, net) as replicas,
    ):
        replicas.fill()
        replicas.start_all()
        done = harass(replicas, Mishaps(replicas, chance), chance, only)
        replicas.until_over()
        statuses = replicas.drain()
        books = replicas.books()
        books.done = done | Counter({"unclean ends": sum(map(bool, statuses)), "had to be killed": replicas.stuck})
        if not books.good or books.done["ended by themselves"] or books.done["had to be killed"]:
            keep(Path(folder), broker, seed)
        return books


def harass(replicas: Replicas, mishaps: Mishaps, chance: random.Random, only: list[str]) -> Counter[str]:
    """One mishap after another, while there are jobs that nobody has asked the API for."""
    names = [name for name in mishaps.all if not only or name in only]
    done: Counter[str] = Counter(dict.fromkeys(names, 0))
    idle = 0
    while int(replicas.sandbox.lanes["send"]["arrived"]) < replicas.jobs * 0.9 and idle < 20:
        before = int(replicas.sandbox.lanes["send"]["arrived"])
        time.sleep(chance.uniform(*BREATH))
        name = min(names, key=lambda one: (done[one], chance.random()))
        sys.stderr.write(f"  {before:,} requests; {name}\n")
        mishaps.all[name]()
        done[name] += 1
        done["ended by themselves"] += replicas.revive()
        idle = idle + 1 if int(replicas.sandbox.lanes["send"]["arrived"]) == before else 0
    replicas.state.slew(0)
    return done


def keep(folder: Path, broker: str, seed: int) -> None:
    """The logs of a run that was not good, or in which a replica did not live as long as it should."""
    kept = Path(tempfile.gettempdir()) / f"sender-fleet-{broker}-{seed}"
    kept.mkdir(exist_ok=True)
    for path in (*folder.glob("log-*"), *folder.glob("outcomes-*.jsonl")):
        (kept / path.name).write_bytes(path.read_bytes())
    sys.stderr.write(f"logs and outcomes are kept in {kept}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--broker", action="append", choices=sorted(KINDS), help="may be repeated (all)")
    parser.add_argument("--only", action="append", default=[], help="only mishaps of this name; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and namespaces go with it
    why_not = unavailable()
    if why_not:
        sys.stdout.write(f"without partitions: {why_not}\n")
    if clock_library() is None:
        sys.stdout.write("without slewed clocks: cc is not installed\n")
    good = True
    for broker in args.broker or KINDS:
        books = torture(broker, args.jobs, args.seed, hosts=why_not is None and broker != KAFKA, only=args.only)
        verdict = "good" if books.good else "BAD"
        sys.stdout.write(f"{broker}\n{books}\n")
        sys.stdout.write(
            f"{verdict}: {len(books.lost)} lost, {len(books.twice)} twice and not reported, "
            f"{max(0, books.most - LIMIT)} above the limit\n\n"
        )
        sys.stdout.flush()
        for name in ("lost", "twice"):
            if found := getattr(books, name):
                sys.stdout.write(f"{name}: {found[:10]}\n")
        good &= books.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
