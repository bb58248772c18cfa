"""Replicas on a Kafka topic whose partitions move every few seconds: python benchmarks/rebalances.py [JOBS] [--save]

Four replicas and two that come and go, on one state; once with no other ends than by SIGTERM, which leave nothing in
doubt, and once with kill -9 and restarts of the broker, too. `tests/campaigns/kafka.py` plays it.
"""

from __future__ import annotations

import sys

import results
from common import ROOT

sys.path.insert(0, str(ROOT))

from tests.campaigns.kafka import EVERY, GENTLE, PARTITIONS, ROUGH, Play, play
from tests.support.kafka_server import MISSING, VERSION, jars

GENTLY = 0.3
"""Share of the jobs for the first of the two."""
SEED = 1


def main() -> int:
    if jars() is None:
        sys.exit(MISSING)
    (jobs,) = results.numbers(10_000)
    plays = [play(int(jobs * GENTLY), SEED, GENTLE), play(jobs, SEED, ROUGH)]
    notes = (
        f"Apache Kafka {VERSION}, one broker, {PARTITIONS} partitions; four replicas and two that come and go, one "
        f"Redis as state, 100/s for all together; a mishap about every {EVERY:.0f} s. Twice: accepted twice and not "
        "reported in doubt. Shares are those of the best 10 s before and after partitions began to move."
    )
    head = ("what", "SIGTERM alone", "SIGTERM, kill -9 and restarts of the broker")
    results.tell("rebalances", "Kafka with rebalances all the time", notes, results.table(head, rows(plays)))
    return 0 if all(one.good for one in plays) else 1


def rows(plays: list[Play]) -> list[tuple[object, ...]]:
    """A row for each figure, a column for each of them."""
    books = [one.books for one in plays]
    return [
        ("jobs", *(f"{one.jobs:,}" for one in books)),
        ("comings of the two", *(one.done["replicas that came and went"] for one in books)),
        *((name, *(one.done[name] for one in books)) for name in ("SIGTERM", "kill -9", "broker restarts")),
        ("accepted", *(f"{len(one.accepted):,}" for one in books)),
        ("lost", *(len(one.lost) for one in books)),
        ("twice", *(len(one.twice) for one in books)),
        ("in doubt", *(len(one.doubted) for one in books)),
        ("of them accepted twice", *(sum(one.accepted[job] > 1 for job in one.doubted) for one in books)),
        ("most in any second (limit 100)", *(one.most for one in books)),
        ("share of the limit, undisturbed", *(f"{one.calm:.2%}" for one in plays)),
        ("share of the limit with rebalances", *(f"{one.disturbed:.2%}" for one in plays)),
    ]


if __name__ == "__main__":
    sys.exit(main())
