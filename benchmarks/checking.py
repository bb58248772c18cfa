"""How many lines a second `sender validate` checks: python benchmarks/checking.py [LINES] [ROUNDS] [--save]

A file of small receipts, each with an id of its own; whole processes, from start to end, in turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import results
import targets
from common import ENVIRONMENT, write_emails

PROCESSES = (1, 2)


class Figure(NamedTuple):
    """One run."""

    seconds: float
    cpu_s: float
    """Of all its processes."""
    peak_mb: float
    """Of the largest of them."""


def check(folder: Path, processes: int) -> Figure:
    """One `sender validate`; with one process on one core."""
    command = [sys.executable, "-m", "sender", "validate", "jobs.jsonl", "--processes", str(processes)]
    cores = sorted(os.sched_getaffinity(0))
    begin = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores[:1] if processes == 1 else cores),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return Figure(time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def row(processes: int, count: int, runs: list[Figure]) -> tuple[str, ...]:
    """One line of the table."""
    rate = count / median(one.seconds for one in runs)
    cpu = median(one.cpu_s for one in runs) / count * 1e6
    name = f"{processes} process{'es' if processes > 1 else ''}"
    judged = targets.judged("checking", name, "lines/s", rate)
    return name, f"{rate:,.0f}", f"{cpu:.1f}", f"{max(one.peak_mb for one in runs):.0f}", judged


def main() -> None:
    """Tell the table."""
    count, rounds = results.numbers(200_000, 3)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        write_emails(folder / "jobs.jsonl", count)
        found: dict[int, list[Figure]] = {}
        for _ in range(rounds):
            for processes in PROCESSES:
                found.setdefault(processes, []).append(check(folder, processes))
    notes = (
        f"{count:,} emails of some 200 bytes, each checked and its identity held against all before it; medians of "
        f"{rounds} rounds, start of the processes included. One process has one core, two share both."
    )
    head = ("sender validate", "lines/s", "CPU, us a line", "peak memory, MB", "target")
    rows = [row(processes, count, runs) for processes, runs in found.items()]
    results.tell("checking", "Checking a file", notes, results.table(head, rows))


if __name__ == "__main__":
    main()
