"""Memory and time over the number of jobs, without a limit: python benchmarks/memory.py [JOBS…]"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import machine, sandbox, send, write_emails


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    print(f"{machine()}\n\n| jobs | peak memory, MB | jobs/s |\n|---:|---:|---:|")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, sandbox("--rate-send", "10000000", "--forget") as url:
            jobs = Path(folder) / "jobs.jsonl"
            write_emails(jobs, count)
            summary, peak = send(jobs, url, "--rate", "max", "--concurrency", "64")
        assert summary["sent"] == count, summary
        print(f"| {count:,} | {peak / 1e6:.1f} | {summary['lanes']['send']['rate']:,.0f} |")


if __name__ == "__main__":
    main()
