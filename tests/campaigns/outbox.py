"""Orders and their receipts in one PostgreSQL, a third of the transactions rolled back, and four replicas at work.

    python -m tests.campaigns.outbox --jobs 10000 --state postgres

A part is written before the replicas start, and sent undisturbed: that shows what share of the limit they hold. The
rest is written while they send; meanwhile replicas are killed with -9 and started anew, and the server is restarted and
killed. What is in doubt is sent again if the API surely shows none. At the end: exactly what was committed has been
accepted, once each, and each order knows what became of its receipt.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from tests.support.outbox_fleet import OutboxFleet, reached

LIMIT: Final = 100
REPLICAS: Final = 4
UNDISTURBED: Final = 20.0
"""Seconds over which the share of the limit is counted."""
BREATH: Final = 4.0
"""Seconds between two mishaps."""
OVER: Final = 0.9
"""Share of the orders after which nothing more is broken."""
GATHERED: Final = 4500
"""Orders that wait when the replicas start: some 3,000 are committed, half a minute of work."""
PAUSE: Final = 0.1
"""Seconds after each transaction of a writer: some 100 receipts a second are committed while replicas are killed."""
SETTLE_WITHIN: Final = 300
"""Seconds for the rows that are open when all orders are written."""
SETTLE_EVERY: Final = 5
"""Seconds."""
POLICY: Final = ("--in-doubt", "resend-if-absent", "--reconcile-lag", "5")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000, help="receipts that are enqueued, those rolled back too")
    parser.add_argument("--state", choices=("redis", "postgres"), default="postgres")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        OutboxFleet(Path(folder), "--latency", "20-200", "--visibility-lag", "1", state=args.state) as fleet,
    ):
        return 0 if campaign(fleet, args.jobs, args.seed) else 1


def campaign(fleet: OutboxFleet, jobs: int, seed: int) -> bool:
    """Whether all of it held."""
    first = min(GATHERED, jobs // 2)
    fleet.write_orders(0, first, seed)
    for _ in range(REPLICAS):
        fleet.start(*POLICY)
    waiting = fleet.open
    fleet.until(lambda: fleet.arrived >= min(waiting * OVER, LIMIT * (UNDISTURBED + 5)), 300)
    share = reached(fleet.stamps(), LIMIT, min(UNDISTURBED, waiting * OVER / LIMIT - 2))
    shop = threading.Thread(target=fleet.write_orders, args=(first, jobs, seed + 1, PAUSE))
    shop.start()
    done = _harass(fleet, shop)
    shop.join()
    _settle(fleet, jobs)
    statuses = fleet.end_all()
    return _judge(fleet, share, done, statuses)


def _harass(fleet: OutboxFleet, shop: threading.Thread) -> dict[str, int]:
    done = {"replicas killed": 0, "restarts of the server": 0, "kills of the server": 0}
    while shop.is_alive():
        number = sum(done.values())
        if number % 4 == 1:
            fleet.server.restart()
            done["restarts of the server"] += 1
        elif number % 4 == 3:
            fleet.server.kill()
            fleet.server.start()
            done["kills of the server"] += 1
        else:
            living = [one for one in fleet.consumers if one.process.poll() is None]
            living[number % len(living)].kill()
            fleet.start(*POLICY)
            done["replicas killed"] += 1
        sys.stderr.write(f"  {fleet.arrived:,} requests, {fleet.open:,} rows wait; {done}\n")
        time.sleep(BREATH)
    return done


def _settle(fleet: OutboxFleet, jobs: int) -> None:
    """A few orders more now and then: that a job is absent is seen by what the API shows of later ones."""
    for number in range(jobs, jobs + SETTLE_WITHIN):
        if fleet.open == 0:
            return
        if number % SETTLE_EVERY == 0:
            fleet.write_orders(number, number + 1)
        time.sleep(1)
    sys.stdout.write("rows were open at the end\n")


def _judge(fleet: OutboxFleet, share: float, done: dict[str, int], statuses: list[int]) -> bool:
    books = fleet.books()
    rows: list[tuple[str, object]] = [
        *done.items(), ("receipts committed", len(books.committed)), ("accepted", len(books.accepted)),
        ("lost", len(books.lost)), ("accepted twice", len(books.twice)),
        ("accepted, and never committed", len(books.never_committed)), ("in doubt at the end", len(books.letters)),
        ("orders told wrong", len(books.told_wrong)), ("sent, without a delivery", len(books.without_id)),
        ("share of the limit", f"{share:.2%}"),
        ("most in any second", books.most), ("unclean ends", sum(map(bool, statuses))),
    ]
    sys.stdout.write("".join(f"{name:>32}  {value}\n" for name, value in rows))
    wrong = books.lost | books.twice | books.never_committed | books.told_wrong | books.letters | books.without_id
    good = not wrong and books.most <= LIMIT and share >= 0.99
    sys.stdout.write("good\n" if good else "BAD\n")
    return good


if __name__ == "__main__":
    sys.exit(main())
