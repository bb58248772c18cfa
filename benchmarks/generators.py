"""Load generators beside `sender bench`: how quick, how exact, and what they do not see.

    python benchmarks/generators.py [--rounds 3] [--seconds 3] [--rate 20000] [--only TEXT] [--save]

All have the same connections and post the same email to the same server (yardstick.py); the client has one core, the
server the other. What is reached and when requests started is counted at the server; what a generator says of latency
and errors is its own report.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import results
from common import ENVIRONMENT
from processes import CLIENT_CORE, SERVER_CORE, on_core, process, script
from rivals import reports
from rivals.commands import Tools
from throughput import Speed, cpu_ratio, measure, rate_ratio
from tools import ALL, found, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from throughput import Target

CONNECTIONS = 64
NAMES = ("sender", "hey", "autocannon", "wrk", "h2load", "oha", "vegeta", "k6")
SHOWN = {"sender": "sender bench"}
TWO = "sender bench, 2 processes"
NO_RATE = ("wrk",)
"""They have no option for a fixed rate."""
STALL_RATE, STALL_SECONDS, STALL_AT, STALL = 500, 6, 3.0, 1.0
STALL_CONNECTIONS = 10
WRONG = 10
"""Every so many answers is wrong, and half of these have status 200."""
NOTES = """\
One core for the client, the other for the server (`yardstick.py`); {connections} connections; medians of {rounds}
rounds of {seconds:g} s, in turns, ratios within a round. `sender bench` reads every answer and checks what it says; the
others look at its status, unless a script is written for it (k6). With two processes it has the server's core too."""
FIXED_NOTES = """\
*Reached* and *late start* are seen from the server: how long after its place in an even schedule a request arrived,
the quickest request being on time. *Own p99* is what the generator tells as latency."""
STALL_NOTES = """\
{rate} requests a second over {connections} connections, for {seconds} s; those that open more when answers are late
may do so. After {at:g} s the server stands still for {stall:g} s. Who plans requests evenly and asks how long each one
waited, finds that a sixth of them waited: p99 is {truth:.0f} ms. A generator that stops asking meanwhile (coordinated
omission) tells less. *Wrong answers*: every {wrong}th one is, half of them with status 500 and half with status 200 and
no `delivery_id`; the part of them that it told as errors."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A run at a fixed rate, as the server saw it."""

    reached: float
    late_p50: float
    late_p99: float
    """Milliseconds after the place in an even schedule."""
    own_p99: float | None


@dataclass(frozen=True, slots=True)
class Honest:
    """What one of them told of a server that stands still, and of one that answers wrongly."""

    p99: float | None
    seen: float
    """Part of the wrong answers told as errors."""


def main() -> None:
    options = _options()
    names = [name for name in NAMES if options.only in name]
    parts = [NOTES.format(connections=CONNECTIONS, rounds=options.rounds, seconds=options.seconds)]
    title = "Load generators"

    def tell(heading: str, *more: str) -> None:
        parts.extend((f"### {heading}", *more))
        if options.save:
            results.write("generators", title, *parts)

    tell("Full speed", speeds(names, options.rounds, options.seconds))
    tell(f"{options.rate:,} a second", FIXED_NOTES, fixed_rates(names, options.rate, round(options.seconds + 2)))
    told = STALL_NOTES.format(rate=STALL_RATE, seconds=STALL_SECONDS, at=STALL_AT, stall=STALL, wrong=WRONG,
                              truth=true_p99(), connections=STALL_CONNECTIONS)
    tell("What they do not see", told, honesty(names))
    tell("Where they come from", origins())
    if not options.save:
        print("\n\n".join(parts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=int, default=20_000, help="of the part at a fixed rate")
    parser.add_argument("--only", default="", help="generators with this in their name")
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    return parser.parse_args()


def speeds(names: list[str], rounds: int, seconds: float) -> str:
    """The table of full speed."""
    runs: dict[str, list[Speed | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name in names:
                runs.setdefault(shown(name), []).append(_full_speed(name, Path(folder), seconds))
            if "sender" in names:
                runs.setdefault(TWO, []).append(_full_speed("sender", Path(folder), seconds, processes=2))
    return speed_table(runs)


def shown(name: str) -> str:
    """How it is called in the tables."""
    return SHOWN.get(name, name)


def _full_speed(name: str, folder: Path, seconds: float, processes: int = 1) -> Speed | None:
    def command(to: Target) -> list[str] | None:
        tools, longest = Tools(folder, to.url), round(seconds + 60)
        if processes > 1:
            return tools.sender(longest, CONNECTIONS, None, processes)
        return tools.command(name, longest, CONNECTIONS, None)

    _say(f"{shown(name)} at full speed, {processes} processes")
    return measure(command, folder, seconds, core=CLIENT_CORE if processes == 1 else None)


def speed_table(runs: dict[str, list[Speed | None]]) -> str:
    """Medians, and ratios within the rounds."""
    head = ("generator", "requests/s", "best round", "CPU, us each", "of hey", "of autocannon", "by CPU, of hey",
            "of one process")
    return results.table(head, (_speed_row(name, runs) for name in runs))


def _speed_row(name: str, runs: dict[str, list[Speed | None]]) -> list[str]:
    mine = [run for run in runs[name] if run]
    if not mine:
        return [name, "not installed", *[""] * 6]
    single = _part(runs, name, shown("sender"), rate_ratio) if name == TWO else ""
    return [name, f"{median(run.rate for run in mine):,.0f}", f"{max(run.rate for run in mine):,.0f}",
            f"{median(run.cpu for run in mine):.1f}", _part(runs, name, "hey", rate_ratio),
            _part(runs, name, "autocannon", rate_ratio), _part(runs, name, "hey", cpu_ratio), single]


def _part(runs: dict[str, list[Speed | None]], one: str, other: str, how: Callable[[Speed, Speed], float]) -> str:
    pairs = zip(runs[one], runs.get(other, ()), strict=False)
    each = [how(mine, theirs) for mine, theirs in pairs if mine and theirs]
    return f"{median(each):.2f}" if each else "–"


def fixed_rates(names: list[str], rate: int, seconds: int) -> str:
    """The table at a fixed rate."""
    rows: list[list[object]] = []
    for name in names:
        run = None if name in NO_RATE else _fixed_rate(name, rate, seconds)
        rows.append([shown(name), *_fixed_cells(name, run)])
    return results.table(("generator", "reached", "late start p50, ms", "late start p99, ms", "own p99, ms"), rows)


def _fixed_cells(name: str, run: Fixed | None) -> list[object]:
    if run is None:
        return ["no fixed rate" if name in NO_RATE else "not installed", "", "", ""]
    return [f"{run.reached:.2%}", f"{run.late_p50:.2f}", f"{run.late_p99:.2f}", _ms(run.own_p99)]


def _fixed_rate(name: str, rate: int, seconds: int) -> Fixed | None:
    _say(f"{shown(name)} at {rate}/s")
    with tempfile.TemporaryDirectory() as folder, _server("--stamps") as url:
        told = _run(name, Path(folder), url, seconds, rate)
        return None if told is None else fixed(_stamps(url), rate, told.p99_ms)


def fixed(stamps: list[int], rate: int, own_p99: float | None) -> Fixed:
    """Of the arrivals in ns; the first half second is left out, in which connections are opened."""
    steady = [stamp for stamp in stamps if stamp >= stamps[0] + 500_000_000] or stamps
    late = [(stamp - steady[0]) / 1e6 - number * 1000 / rate for number, stamp in enumerate(steady)]
    least = min(late)
    late = sorted(one - least for one in late)
    seconds = (steady[-1] - steady[0]) / 1e9
    return Fixed((len(steady) - 1) / seconds / rate if seconds else 0.0, late[len(late) // 2],
                 late[len(late) * 99 // 100], own_p99)


def honesty(names: list[str]) -> str:
    """The table of what they do not see."""
    rows: list[list[object]] = []
    for name in names:
        _say(f"{shown(name)} and a server that stands still, and one that is wrong")
        run = honest(name)
        cells = ["not installed", "", "", ""] if run is None else _honest_cells(name, run)
        rows.append([shown(name), *cells])
    return results.table(("generator", "own p99, ms", "of the true one", "coordinated omission",
                          "wrong answers it saw"), rows)


def honest(name: str) -> Honest | None:
    """Both trials; at full speed for those without a fixed rate."""
    rate = None if name in NO_RATE else STALL_RATE
    with tempfile.TemporaryDirectory() as folder:
        with _server("--stall-at", str(STALL_AT), "--stall", str(STALL)) as url:
            stalled = _run(name, Path(folder), url, STALL_SECONDS, rate, STALL_CONNECTIONS)
        with _server("--wrong", str(WRONG)) as url:
            wrong = _run(name, Path(folder), url, 2, rate, STALL_CONNECTIONS, checked=True)
            answered = len(_stamps(url)) // WRONG
    if stalled is None or wrong is None:
        return None
    return Honest(stalled.p99_ms, min(1.0, wrong.errors / max(1, answered)))


def _honest_cells(name: str, run: Honest) -> list[object]:
    answers = f"{run.seen:.0%}" + (" (by a check in its script)" if name == "k6" else "")
    if run.p99 is None:
        return ["not told", "", "not to be told", answers]
    part = run.p99 / true_p99()
    return [_ms(run.p99), f"{part:.2f}", "counts what waited" if part >= 0.9 else "leaves out what waited", answers]


def true_p99() -> float:
    """Milliseconds that the 99th percentile of an even schedule waits: those planned in the stall wait for its rest."""
    planned = STALL_RATE * STALL_SECONDS
    waits = sorted(max(0.0, STALL - abs(number / STALL_RATE - STALL_AT)) if number / STALL_RATE >= STALL_AT else 0.0
                   for number in range(planned))
    return waits[planned * 99 // 100] * 1000


def origins() -> str:
    """Which they are, and why one could not be had."""
    why = missing()
    rows = [(tool.name, tool.origin, "yes" if found(tool.name) else f"no: {why.get(tool.name, 'not installed')}")
            for tool in ALL]
    return results.table(("generator", "from", "there"), rows)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


@contextmanager
def _server(*arguments: str) -> Iterator[str]:
    with process(script("yardstick", *arguments), core=SERVER_CORE, talks=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().decode().strip()


def _run(
    name: str, folder: Path, url: str, seconds: int, rate: int | None, connections: int = CONNECTIONS, *,
    checked: bool = False,
) -> reports.Told | None:
    """A whole run, and what it tells of itself; None for what is not installed."""
    command = Tools(folder, url, checked=checked).command(name, seconds, connections, rate)
    if command is None:
        return None
    done = subprocess.run(on_core(CLIENT_CORE, command), cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=seconds + 90)
    text = done.stdout
    if name == "vegeta":
        told = [command[0], "report", "-type", "json", str(folder / "vegeta.bin")]
        text = subprocess.run(told, stdout=subprocess.PIPE, text=True, check=True, timeout=90).stdout
    return reports.read(name, text, folder)


def _stamps(url: str) -> list[int]:
    with urllib.request.urlopen(url) as answer:
        stamps: list[Any] = json.load(answer)
    return sorted(stamps)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
