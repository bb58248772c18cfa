"""What the ledger costs at full speed: python benchmarks/ledger.py [JOBS] [ROUNDS]

The same run with each durability, and with a ledger that only remembers while it lives; all in turns, medians told.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from common import machine, sandbox, send, write_emails

WITHOUT = """
import sys
import sender.run
from sender.ledger.memory import MemoryLedger

class Forgetful(MemoryLedger):
    was_clean, last_hand_over = True, None

    @classmethod
    async def open(cls, *_, **__):
        return cls()

    async def bind_workspace(self, name):
        pass

sender.run.SqliteLedger = Forgetful
from sender.cli import main
sys.exit(main(sys.argv[1:]))
"""
KINDS = {
    "without": ("-c", WITHOUT),
    "off": ("-m", "sender", "--durability=off"),
    "normal": ("-m", "sender", "--durability=normal"),
    "full": ("-m", "sender", "--durability=full"),
}


def measure(kind: str, count: int) -> float:
    """Requests a second of one run."""
    how, what, *options = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder, sandbox("--rate-send", "10000000", "--forget") as url:
        jobs = Path(folder) / "jobs.jsonl"
        write_emails(jobs, count)
        summary, _ = send(jobs, url, "--rate", "max", "--concurrency", "64", *options, program=(how, what))
    assert summary["sent"] == count, summary
    return float(summary["lanes"]["send"]["rate"])


def main() -> None:
    count, rounds = [*map(int, sys.argv[1:]), *(20_000, 5)[len(sys.argv) - 1 :]]
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            found[kind].append(measure(kind, count))
    print(f"{machine()}; {count:,} emails, median of {rounds}\n\n| ledger | jobs/s | part |\n|---|---:|---:|")
    best = median(found["without"])
    for kind, rates in found.items():
        print(f"| {kind} | {median(rates):,.0f} | {median(rates) / best:.2f} |")


if __name__ == "__main__":
    main()
