"""Memory and time over the number of jobs, without a limit: python benchmarks/memory.py [JOBS…]

Everything is on: ledger (default durability), outcome log, checks. The server answers at once.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import machine, send, write_emails
from engine import CONCURRENCY, server


def main() -> None:
    """Print the table."""
    counts = [int(text) for text in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    print(f"## Memory and time over the number of jobs\n\n`python benchmarks/memory.py {' '.join(map(str, counts))}`\n")
    print(f"{machine()}; ledger and outcome log on\n\n| jobs | peak memory, MB | jobs/s | us/job | time to the first |")
    print("|---:|---:|---:|---:|---:|")
    first = 0.0
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, server() as url:
            jobs = Path(folder) / "jobs.jsonl"
            write_emails(jobs, count)
            summary, peak = send(jobs, url, "--rate", "max", "--concurrency", str(CONCURRENCY), "--no-preflight")
        assert summary["sent"] == count, summary
        rate = summary["lanes"]["send"]["rate"]
        first = first or 1 / rate
        print(f"| {count:,} | {peak / 1e6:.1f} | {rate:,.0f} | {1e6 / rate:.0f} | {1 / rate / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
