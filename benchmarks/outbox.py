"""Receipts from orders that are committed and rolled back: python benchmarks/outbox.py [ORDERS] [--save]

What `python -m tests.campaigns.outbox` tells, one PostgreSQL as queue and state: it needs the environment of the tests.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import results
from common import ENVIRONMENT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

CAMPAIGN: Final = "tests.campaigns.outbox"
VERDICTS: Final = {"good": "All of it held.", "BAD": "**It did not hold.**"}
NOTES: Final = (
    "A third of the transactions is rolled back. 4 replicas of `sender consume`, 100/s for all together, one "
    "PostgreSQL as queue and state. The share of the limit is that of 20 s before anything is broken."
)


def main() -> None:
    (orders,) = results.numbers(10_000)
    command = [sys.executable, "-m", CAMPAIGN, "--jobs", str(orders), "--state", "postgres"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False)
    rows, verdict = read(done.stdout.splitlines())
    if not rows:
        sys.exit(f"{CAMPAIGN} told nothing, and ended with {done.returncode}")
    notes = f"{orders:,} orders. {NOTES} {verdict}"
    results.tell("outbox", "The outbox, with replicas killed and PostgreSQL restarted", notes,
                 results.table(("what", "figure"), rows))


def read(lines: Iterable[str]) -> tuple[list[tuple[str, str]], str]:
    """(what was told with its figure, the verdict), from the campaign's own table."""
    parted = [line.strip().rpartition("  ") for line in lines]
    verdict = next((VERDICTS[last] for _, _, last in parted if last in VERDICTS), VERDICTS["BAD"])
    return [(name.strip(), figure) for name, _, figure in parted if name], verdict


if __name__ == "__main__":
    main()
