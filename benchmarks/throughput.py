"""Emails a second at full speed, one core for the client, another for the server.

    python benchmarks/throughput.py [--rounds 5] [--seconds 2] [--only TEXT] [--save]

All contenders run in turns, against the same server (yardstick.py). The server counts, over `--seconds` after the
first second of work; so start-up counts for nobody. `sender` does its whole work: it reads the file, checks each job,
sends it with the pacer off, and writes its outcome; the rivals send one and the same body again and again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import results
from common import write_emails
from processes import CLIENT_CORE, SERVER_CORE, cpu_seconds, process, script
from rivals import FULL, load
from rivals.bare_aiohttp import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[["Target"], list[str] | None]
    """What to run, None when it is not installed."""
    Found = dict[str, list["Speed | None"]]
    """The rounds of each contender, None where it is not installed."""

WARM = 1.0
START = 30.0
"""Seconds that a contender may take to its first request."""
JOBS_A_SECOND = 24_000
"""More than sender sends, so that its file does not run out."""
BARE = "aiohttp, bare loop"
LOOPS = ("uvloop", "asyncio")
AIMS = [
    *((f"sender, {loop}, without ledger", f"{BARE}, {loop}", 0.7) for loop in LOOPS),
    *((f"sender, {loop}", f"{BARE}, {loop}", 0.5) for loop in LOOPS),
    ("sender, uvloop, without ledger", "customerio, 10 threads", 5.0),
    ("sender, uvloop", "customerio, 10 threads", 5.0),
]
NOTES = """\
The client has one core and the server (`yardstick.py`, which only counts and answers) the other; 64 connections, 10 for
`customerio`; contenders in turns, medians of the rounds, ratios within each round. `sender` reads the job file, checks
every job, sends it with the pacer off and writes its outcome, with its ledger (`--durability full`) unless said
otherwise; the rivals send one prepared body and drop the answer. httpx and async-customerio ran on uvloop. Where
another process took part of the core, CPU time is the truer ratio."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a contender has to know; `jobs.jsonl` lies in the folder."""

    folder: Path
    url: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Requests per second, and microseconds of CPU for each."""

    rate: float
    cpu: float


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        write_emails(folder / "jobs.jsonl", round(JOBS_A_SECOND * (options.seconds + WARM + 1)))
        found: Found = {}
        for _ in range(options.rounds):
            for name, command in contenders():
                if options.only in name:
                    print(name, file=sys.stderr, flush=True)
                    found.setdefault(name, []).append(measure(command, folder, options.seconds))
    report(found, save=options.save)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="", help="contenders with this in their name")
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    return parser.parse_args()


def contenders() -> Iterator[tuple[str, Command]]:
    """(name, command) of all, those of ours first."""
    for loop, without in zip(LOOPS, ("-", "asyncio"), strict=True):
        yield f"sender, {loop}, without ledger", _sender(f"{without},no-ledger")
        yield f"sender, {loop}", _sender(without)
        yield f"{BARE}, {loop}", client_of(FULL[BARE], loop)
    for name, what in FULL.items():
        if name != BARE:
            yield name, client_of(what, "uvloop")


def _sender(without: str) -> Command:
    arguments = ("send", "jobs.jsonl", "--rate", "max", "--concurrency", CONNECTIONS, "--no-preflight", "--no-progress")
    return lambda to: script("variant", without, *arguments, "--base-url", to.url)


def client_of(what: str, loop: str) -> Command:
    """A rival, as MODULE:FUNCTION, on this kind of loop."""
    return lambda to: script("client", "full", loop, what, to.url) if _installed(what) else None


def _installed(what: str) -> bool:
    try:
        load(what)
    except ImportError:
        return False
    return True


def measure(
    command_of: Command, folder: Path, seconds: float, warm: float = WARM, core: int | None = CLIENT_CORE
) -> Speed | None:
    """One run against a server of its own; None for a contender that is not installed."""
    with process(script("yardstick"), core=SERVER_CORE, talks=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        command = command_of(Target(folder, url, seconds))
        if command is None:
            return None
        _remove_books(folder)
        with process(command, core=core, folder=folder) as client:
            _await_first(url)
            time.sleep(warm)
            count, cpu, begin = _count(url), cpu_seconds(client.pid), time.monotonic()
            time.sleep(seconds)
            count, cpu, taken = _count(url) - count, cpu_seconds(client.pid) - cpu, time.monotonic() - begin
            if client.poll() is not None:
                raise RuntimeError(f"it ended before the measurement did: {command}")
    return Speed(count / taken, cpu / count * 1e6)


def _remove_books(folder: Path) -> None:
    """No run may find the outcomes and the ledger of an earlier one."""
    for path in folder.glob("jobs.jsonl.*"):
        path.unlink()


def _await_first(url: str) -> None:
    end = time.monotonic() + START
    while not _count(url):
        if time.monotonic() > end:
            raise RuntimeError("no request came")
        time.sleep(0.02)


def _count(url: str) -> int:
    with urllib.request.urlopen(url) as answer:
        return int(answer.read())


def report(found: Found, *, save: bool) -> None:
    """Medians of the rounds, and ratios within them."""
    parts = [table(found), ratios(found)]
    if save:
        results.write("throughput", "Full speed: emails a second from one core", NOTES, *filter(None, parts))
    else:
        print("\n\n".join(parts))


def table(found: Found) -> str:
    head = ("contender", "emails/s", "best round", *(f"of bare aiohttp, {loop}" for loop in LOOPS), "CPU, us each")
    return results.table(head, (_row(name, found) for name in found))


def _row(name: str, found: Found) -> list[str]:
    runs = found[name]
    if not all(runs):
        return [name, "not installed", "", "", "", ""]
    rates = [run.rate for run in runs if run]
    cpu = median(run.cpu for run in runs if run)
    return [name, f"{median(rates):,.0f}", f"{max(rates):,.0f}",
            *(_ratio(found, name, f"{BARE}, {loop}", rate_ratio) for loop in LOOPS), f"{cpu:.0f}"]


def ratios(found: Found) -> str:
    """What was aimed at, by emails a second and by CPU time; empty unless both sides ran."""
    rows = [
        (f"{one} / {other}", f"{aim:g}", *(_ratio(found, one, other, how) for how in (rate_ratio, cpu_ratio)))
        for one, other, aim in AIMS
        if one in found and other in found
    ]
    return results.table(("ratio", "aim, at least", "by emails/s", "by CPU time"), rows) if rows else ""


def _ratio(found: Found, one: str, other: str, how: Callable[[Speed, Speed], float]) -> str:
    """The median of the ratios of each round, whose runs are close to each other in time."""
    pairs = zip(found.get(one, ()), found.get(other, ()), strict=False)
    each = [how(mine, theirs) for mine, theirs in pairs if mine and theirs]
    return f"{median(each):.2f}" if each else "–"


def rate_ratio(one: Speed, other: Speed) -> float:
    return one.rate / other.rate


def cpu_ratio(one: Speed, other: Speed) -> float:
    """How many of the one fit into the time of the other."""
    return other.cpu / one.cpu


if __name__ == "__main__":
    main()
