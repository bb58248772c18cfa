"""How exactly a limit is held, by the instants at which requests arrive at the server's kernel.

    python benchmarks/pacing.py [--rates 100,1000] [--seconds 25] [--side-by-side 2] [--loop LOOP] [--only TEXT]
                                [--save]

Each contender has a server of its own, which answers after 20 ms, refuses nothing and stamps what arrives. Limiters
that bring no client pace aiohttp, over connections that are open already.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import results
from client import MISSING
from common import arrivals, sandbox, write_emails
from counts import Counts, counted
from processes import cpu_seconds, process, script
from rivals import PACED
from rivals.commands import Tools

if TYPE_CHECKING:
    import subprocess

LATENCY_MS = "20"
LATE = 1.2
"""Times as long as planned, after which a contender that is behind is stopped; what arrived until then counts."""
START = 2.0
EVERY = 0.25
OWN = {"sender": "", "sender, without ledger": "no-ledger"}
TOOLS = {
    "sender bench": "sender", "autocannon -R": "autocannon", "hey -q": "hey", "oha -q": "oha", "vegeta -rate": "vegeta",
    "h2load --rps": "h2load", "k6, constant-arrival-rate": "k6",
}
NOTES = """\
Contenders had {seconds:g} s each, {side} at a time (alone from 1,000/s on), against a server of their own that answers
after {latency} ms and refuses nothing; Python ones on {loop}. *Reached* is the slope of the arrivals over time from the
third second on; *most* is the largest number in any sliding second; *strict 429s* is how many a server with exactly
this limit in any sliding second would have refused. `sender` ran whole: file, checks, ledger, outcomes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of each contender."""

    rate: int
    seconds: float
    loop: str

    @property
    def count(self) -> int:
        """Emails in all."""
        return round(self.rate * self.seconds)

    @property
    def connections(self) -> int:
        """For generators whose connections each wait for their answer."""
        return max(10, self.rate // 20)


@dataclass(frozen=True, slots=True)
class Paced:
    """One run of one pacer; milliseconds of CPU for each request."""

    counts: Counts
    cpu_ms: float | None


def main() -> None:
    options = _options()
    parts = [NOTES.format(seconds=options.seconds, side=options.side_by_side, latency=LATENCY_MS, loop=options.loop)]
    for rate in map(int, options.rates.split(",")):
        plan = Plan(rate, options.seconds, options.loop)
        parts += [f"### {rate:,} a second", table(run_all(plan, options.only, options.side_by_side), rate)]
    if options.save:
        results.write("pacing", "Pacing: how exactly the limit is held", *parts)
    else:
        print("\n\n".join(parts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="100,1000")
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--side-by-side", type=int, default=2, help="contenders at a time; those of 1,000/s run alone")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--only", default="", help="contenders with this in their name")
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    return parser.parse_args()


def run_all(plan: Plan, only: str, side_by_side: int) -> dict[str, Paced | None]:
    """None for what is not installed."""
    names = [name for name in (*OWN, *PACED, *TOOLS) if only in name]
    with ThreadPoolExecutor(side_by_side if plan.rate < 1000 else 1) as pool:
        return dict(zip(names, pool.map(lambda name: run(name, plan), names), strict=True))


def run(name: str, plan: Plan) -> Paced | None:
    print(f"{name} at {plan.rate}/s", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as path, sandbox("--rate-send", "0", "--latency", LATENCY_MS) as url:
        command = command_of(name, plan, Path(path), url)
        if command is None:
            return None
        with process(command, folder=Path(path)) as client:
            samples = _watched(client, LATE * plan.seconds + START)
            if client.poll() == MISSING:
                return None
        stamps = arrivals(url)
    return Paced(counted(stamps, plan.rate), _cpu_each(stamps, samples))


def _watched(client: subprocess.Popen[bytes], seconds: float) -> list[tuple[int, float]]:
    """(instant in ns, seconds of CPU used so far) until it ends or its time is up."""
    samples = []
    end = time.monotonic() + seconds
    while client.poll() is None and time.monotonic() < end:
        samples.append((time.time_ns(), cpu_seconds(client.pid)))
        time.sleep(EVERY)
    return samples


def _cpu_each(stamps: list[int], samples: list[tuple[int, float]]) -> float | None:
    """Milliseconds of CPU for each request, start-up and end left out."""
    part = [(at, cpu) for at, cpu in samples if stamps[0] + 10**9 <= at <= stamps[-1]]
    requests = sum(part[0][0] <= stamp < part[-1][0] for stamp in stamps) if part else 0
    return (part[-1][1] - part[0][1]) / requests * 1000 if requests else None


def command_of(name: str, plan: Plan, folder: Path, url: str) -> list[str] | None:
    if name in PACED:
        return script("client", "paced", plan.loop, PACED[name], url, plan.rate, plan.count)
    if name in TOOLS:
        return Tools(folder, url).command(TOOLS[name], round(plan.seconds), plan.connections, plan.rate)
    write_emails(folder / "jobs.jsonl", plan.count)
    without = f"{OWN[name]},{'' if plan.loop == 'uvloop' else 'asyncio'}"
    arguments = ("send", "jobs.jsonl", "--no-progress", "--rate", plan.rate, "--base-url", url)
    return script("variant", without, *arguments)


def table(found: dict[str, Paced | None], rate: int) -> str:
    head = (
        "pacer",
        "reached",
        f"most in any second (limit {rate:,})",
        "strict 429s",
        "gaps p1 / p50 / p99, ms",
        "CPU, ms each",
    )
    return results.table(head, (_row(name, paced) for name, paced in found.items()))


def _row(name: str, paced: Paced | None) -> list[object]:
    if paced is None:
        return [name, "not installed", "", "", "", ""]
    counts = paced.counts
    gaps = " / ".join(f"{gap:.2f}" for gap in counts.gaps_ms)
    cpu = "–" if paced.cpu_ms is None else f"{paced.cpu_ms:.2f}"
    return [name, f"{counts.reached:.2%}", counts.most, counts.refused, gaps, cpu]


if __name__ == "__main__":
    main()
