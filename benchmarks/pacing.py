"""How exactly the limit is held, counted by the receiving side: python benchmarks/pacing.py [EMAILS]"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import machine, sandbox, send, stats, write_emails

CASES = {
    "20 ms latency": ("--latency", "20"),
    "20 to 300 ms latency": ("--latency", "20-300"),
    "a wire of 0 to 30 ms each way": ("--jitter", "30"),
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    print(f"{count:,} emails at 100/s; {machine()}\n")
    print(
        "| case | rate at the server | most in any second | 429s | gaps p1 / p50 / p99, ms |\n|---|---:|---:|---:|---|"
    )
    for name, arguments in CASES.items():
        with tempfile.TemporaryDirectory() as folder, sandbox(*arguments) as url:
            jobs = Path(folder) / "jobs.jsonl"
            write_emails(jobs, count)
            send(jobs, url)
            lane = stats(url)["lanes"]["send"]
        gaps = " / ".join(f"{lane['gaps_ms'][part]:.1f}" for part in ("p1", "p50", "p99"))
        print(f"| {name} | {lane['rate']:.2f}/s | {lane['max_in_window']} | {lane['rejected_429']} | {gaps} |")


if __name__ == "__main__":
    main()
