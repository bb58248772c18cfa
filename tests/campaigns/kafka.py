"""Four replicas on a Kafka topic and one state, with rebalances every few seconds.

    python -m tests.campaigns.kafka --jobs 10000

Replicas are killed with -9 or end by SIGTERM, and come again, so that partitions move all the time; the broker is
restarted. Then the books of both sides are held against each other: lost, twice, above the limit.
"""

from __future__ import annotations

import argparse
import sys

from tests.campaigns.fleet import KAFKA, torture
from tests.campaigns.replicas import LIMIT
from tests.queues.brokers import Kafka

MISHAPS = ["kill -9", "SIGTERM", "broker restarts"]
PARTITIONS = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    Kafka.partitions = PARTITIONS
    books = torture(KAFKA, args.jobs, args.seed, hosts=False, only=MISHAPS)
    sys.stdout.write(
        f"{books}\n{'good' if books.good else 'BAD'}: {len(books.lost)} lost, {len(books.twice)} twice and not "
        f"reported, {max(0, books.most - LIMIT)} above the limit\n"
    )
    return 0 if books.good else 1


if __name__ == "__main__":
    sys.exit(main())
