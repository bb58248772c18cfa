"""Memory and time over the number of jobs, without a limit: python benchmarks/memory.py [JOBS…] [--save]

Everything is on: ledger (default durability), outcome log, checks. The server answers at once. The CPU time is that of
the whole process, without what a run of three jobs takes.
"""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path
from typing import NamedTuple

import results
from common import send, write_emails
from engine import CONCURRENCY, server


class Run(NamedTuple):
    """One run."""

    rate: float
    cpu_s: float
    peak: int


def measure(count: int) -> Run:
    """Send so many jobs at full speed."""
    with tempfile.TemporaryDirectory() as folder, server() as url:
        jobs = Path(folder) / "jobs.jsonl"
        write_emails(jobs, count)
        before = _cpu_s()
        summary, peak = send(jobs, url, "--rate", "max", "--concurrency", str(CONCURRENCY), "--no-preflight")
        used = _cpu_s() - before
    assert summary["sent"] == count, summary
    return Run(summary["lanes"]["send"]["rate"], used, peak)


def _cpu_s() -> float:
    """Of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Tell the table."""
    counts = results.numbers() or [10_000, 100_000, 1_000_000]
    rows = []
    start = measure(3).cpu_s
    first = 0.0
    for count in counts:
        run = measure(count)
        cpu = (run.cpu_s - start) / count * 1e6
        first = first or cpu
        rows.append((f"{count:,}", f"{run.peak / 1e6:.1f}", f"{run.rate:,.0f}", f"{cpu:.0f}", f"{cpu / first:.2f}"))
    head = ("jobs", "peak memory, MB", "jobs/s", "CPU, us each", "to the first")
    notes = (
        "Pacer off, ledger (default durability) and outcome log on; both cores are used. A run of a million takes "
        "minutes, in which the machine's own pace changes: within a run the cost of a job has no trend."
    )
    results.tell("memory", "Memory and time over the number of jobs", notes, results.table(head, rows))


if __name__ == "__main__":
    main()
