"""How fast finished jobs are passed over: python benchmarks/passing_over.py [JOBS] [ROUNDS] [--save]

A file of jobs is made, and a ledger in which each of them stands as sent. The first run over it reads every line and
notes the blocks, the runs after it pass over them. All on one core.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import results
from common import ENVIRONMENT, sandbox, write_emails

from sender.jobs.job import Job, Line
from sender.ledger import FinalRecord
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.validation.parser import Parser

BATCH = 20_000
TARGET = 10_000_000 / 60
"""Jobs a second."""


class Figure(NamedTuple):
    """One run from start to end of its process."""

    seconds: float
    cpu_s: float
    peak_mb: float


async def fill(jobs: Path, ledger: Path, host: str) -> None:
    """Have the ledger know all of them as sent."""
    parser, opened = Parser(), await SqliteLedger.open(ledger, host, durability="off")
    with jobs.open("rb") as file:
        lines = enumerate(file, 1)
        while batch := list(islice(lines, BATCH)):
            parsed = (parser.parse(Line(jobs.name, number, data.strip()), 0.0) for number, data in batch)
            found = [one for one in parsed if isinstance(one, Job)]
            upto = await opened.finish([FinalRecord(one.key, one.content, "sent", b"{}\n", one.key) for one in found])
            await opened.logged(upto)
    await opened.put_note("log", b"own")
    await opened.close()


def run(folder: Path, url: str) -> Figure:
    """One `sender send` over it, on one core."""
    command = [
        sys.executable, "-m", "sender", "send", "jobs.jsonl", "--base-url", url, "--no-progress", "--no-preflight",
        "--no-manifest", "--log-level", "error",
    ]
    core = min(os.sched_getaffinity(0))
    begin = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return Figure(time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def row(name: str, count: int, runs: list[Figure], *, judged: bool) -> tuple[str, ...]:
    """One line of the table."""
    rate = count / median(one.cpu_s for one in runs)
    verdict = f"{TARGET:,.0f}/s: {'met' if rate >= TARGET else 'missed'}" if judged else ""
    return (
        name, f"{median(one.seconds for one in runs):.1f}", f"{median(one.cpu_s for one in runs):.1f}", f"{rate:,.0f}",
        f"{max(one.peak_mb for one in runs):.0f}", verdict,
    )


def main() -> None:
    """Tell the table."""
    count, rounds = results.numbers(1_000_000, 3)
    with sandbox() as url, tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        write_emails(folder / "jobs.jsonl", count)
        host = url.removeprefix("http://")
        asyncio.run(fill(folder / "jobs.jsonl", folder / "jobs.jsonl.outcomes.jsonl.ledger", host))
        first = run(folder, url)
        again = [run(folder, url) for _ in range(rounds)]
    rows = [
        row("each line read", count, [first], judged=False),
        row("by the bytes of its block", count, again, judged=True),
    ]
    head = ("how", "seconds", "CPU, s", "jobs a second of CPU", "peak memory, MB", "target")
    notes = f"{count:,} emails that stand as sent, one core, medians of {rounds} rounds for the latter."
    results.tell("finished", "Passing over what was sent", notes, results.table(head, rows))


if __name__ == "__main__":
    main()
