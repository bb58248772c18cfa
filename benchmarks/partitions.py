"""Replicas on hosts of their own, cut off from Redis and from the API: python benchmarks/partitions.py [JOBS] [--save]

Four network namespaces on one bridge; packets between a host and one service are dropped in both directions, without a
word, and pass again after a while. A row for each cut, with a new queue and a new state; the sandbox stamps every
arrival. Needs root, `ip` and `iptables`; delay and loss of packets where the kernel has netem.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import results
from common import ROOT

sys.path.insert(0, str(ROOT))

from tests.campaigns.hosts import Hosts, unavailable
from tests.campaigns.replicas import LIMIT, REPLICAS, Replicas

CUTS = (
    ("nothing", "state", (), 0.0),
    ("one replica from Redis, 5 s", "state", (0,), 5.0),
    ("one replica from Redis, 40 s", "state", (0,), 40.0),
    ("one replica from the API, 15 s", "api", (0,), 15.0),
    ("all replicas from Redis, 5 s", "state", tuple(range(REPLICAS)), 5.0),
    ("all replicas from Redis, 40 s", "state", tuple(range(REPLICAS)), 40.0),
    ("all replicas from the API, 15 s", "api", tuple(range(REPLICAS)), 15.0),
)
"""(name, service, hosts, seconds): a replica is taken for dead after 22 s, a message returns after 25."""
DELAY, LOSS = "10ms", "0.5%"


def main() -> None:
    why_not = unavailable()
    if why_not:
        sys.exit(f"no partitions here: {why_not}")
    (jobs,) = results.numbers(3000)
    shaped, rows = False, []
    for name, service, hosts, seconds in CUTS:
        row, shaped = measure(jobs, name, service, hosts, seconds)
        print(*row, sep=" | ", file=sys.stderr)
        rows.append(row)
    head = ("cut", "most in any second", "429", "accepted", "lost", "twice", "in doubt", "of them accepted twice")
    quality = f"delay {DELAY} and loss {LOSS} of packets" if shaped else "no delay or loss: this kernel has no netem"
    notes = (
        f"{REPLICAS} replicas, each in a network namespace of its own, {jobs:,} jobs, {LIMIT}/s for all together; "
        f"{quality}. Packets are dropped in both directions. Twice: accepted twice and not reported in doubt. "
        "A request that is given up resets its connection, so no kernel delivers it once the line is back."
    )
    results.tell("partitions", "Partitions", notes, results.table(head, rows))


def measure(
    jobs: int, name: str, service: str, hosts: tuple[int, ...], seconds: float
) -> tuple[tuple[object, ...], bool]:
    """One row, and whether packets were delayed."""
    with (
        tempfile.TemporaryDirectory() as folder, Hosts(REPLICAS, delay=DELAY, loss=LOSS) as net,
        Replicas(Path(folder), "redis", jobs, net) as replicas,
    ):
        replicas.fill()
        replicas.start_all()
        replicas.until_arrived(jobs // 4)
        for host in hosts:
            net.cut(host, service)
        time.sleep(seconds)
        net.mend(hosts)
        replicas.until_over()
        replicas.drain()
        books = replicas.books()
        again = sum(books.accepted[one] > 1 for one in books.doubted)
        return (
            name, books.most, books.too_many, len(books.accepted), len(books.lost), len(books.twice),
            len(books.doubted), again,
        ), net.shaped


if __name__ == "__main__":
    main()
