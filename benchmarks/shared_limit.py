"""One limit for 1, 2, 4 and 8 replicas through one Redis, counted where the requests arrive.

    python benchmarks/shared_limit.py [--replicas 1,2,4,8] [--seconds 15] [--only TEXT] [--pause SECONDS] [--save]

Each replica is a process that sends whatever turns it gets to one server. Redis itself says how many commands it ran
(those inside a script too) and how many times it read from a connection, which is a round trip.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import results
from client import MISSING
from common import arrivals, sandbox, stats
from counts import Counts, counted
from processes import process, script
from redis import Redis
from redis_server import redis_server
from rivals import SHARED

if TYPE_CHECKING:
    import subprocess

LIMIT = 100
WARM = 3.0
"""Seconds from the first request that do not count: the other processes have to start."""
START = 30.0
LONG = 3600
"""Seconds that a replica would run if it were let."""
LATENCY_MS = "5"
LOOP = "uvloop"
NOTES = f"""\
{LIMIT} requests in any second for all replicas together; {{seconds:g}} s each, the first {WARM:g} s left out.
Every replica sends as fast as it gets turns, to one server that stamps what arrives and answers after {LATENCY_MS} ms.
*Commands* are what Redis ran, those inside scripts too; *round trips* are its reads from connections; those *for the
pace* are without signs of life (two for each INFO that Redis ran: `sender` says every 4 s that it lives, and looks
whether Redis has forgotten anything). After five seconds `sender` divides the limit among its replicas. Redis, the
server and the replicas share the machine's cores."""


@dataclass(frozen=True, slots=True)
class Shared:
    """One run of one pacer; per request."""

    counts: Counts
    commands: float
    round_trips: float
    for_pace: float


def main() -> None:
    options = _options()
    found: dict[tuple[str, int], Shared | None] = {}
    for number in map(int, options.replicas.split(",")):
        for name in ("sender", *SHARED):
            if options.only in name:
                print(f"{name}, {number} replicas", file=sys.stderr, flush=True)
                found[name, number] = measure(name, number, options.seconds, pause=options.pause)
    if options.save:
        notes = NOTES.format(seconds=options.seconds)
        results.write("shared-limit", "One limit for many replicas", notes, table(found))
    else:
        print(table(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", default="1,2,4,8")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", default="", help="contenders with this in their name")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds for which Redis is stopped in the middle")
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    return parser.parse_args()


def measure(name: str, replicas: int, seconds: float, warm: float = WARM, pause: float = 0.0) -> Shared | None:
    """None when the rival is not installed."""
    with redis_server() as port, sandbox("--rate-send", "0", "--latency", LATENCY_MS) as url, ExitStack() as stack:
        command = command_of(name, url, port)
        running = [stack.enter_context(process(command)) for _ in range(replicas)]
        if not _started(url, running[0]):
            return None
        time.sleep(warm)
        begin, before = time.time_ns(), _used(port)
        time.sleep(seconds / 2)
        _stop(port, pause)
        time.sleep(seconds / 2)
        end, after = time.time_ns(), _used(port)
        stamps = [stamp for stamp in arrivals(url) if begin <= stamp < end]
    commands, trips, looks = ((new - old) / len(stamps) for new, old in zip(after, before, strict=True))
    return Shared(counted(stamps, LIMIT), commands, trips, trips - 2 * looks)


def _stop(port: int, seconds: float) -> None:
    """Stop this Redis, and let it go on."""
    if seconds:
        with Redis(port=port) as client:
            process = int(client.info("server")["process_id"])
        os.kill(process, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(process, signal.SIGCONT)


def _started(url: str, replica: subprocess.Popen[bytes]) -> bool:
    """Waits for the first request; False when the rival is not installed."""
    end = time.monotonic() + START
    while not stats(url)["requests"]:
        if replica.poll() == MISSING:
            return False
        if time.monotonic() > end:
            raise RuntimeError("no request came")
        time.sleep(0.05)
    return True


def command_of(name: str, url: str, port: int) -> list[str]:
    if name in SHARED:
        return script("client", "shared", LOOP, SHARED[name], url, LIMIT, port, LONG)
    return script("replica", url, LIMIT, port, LONG)


def _used(port: int) -> tuple[int, int, int]:
    """(commands run, reads from connections, INFO commands) of this Redis so far."""
    with Redis(port=port) as client:
        found, commands = client.info("stats"), client.info("commandstats")
    looks = commands["cmdstat_info"]["calls"]
    return int(found["total_commands_processed"]), int(found["total_reads_processed"]), int(looks)


def table(found: dict[tuple[str, int], Shared | None]) -> str:
    head = ("pacer", "replicas", "reached", f"most in any second (limit {LIMIT})", "strict 429s",
            "commands per request", "round trips per request", "for the pace")
    return results.table(head, (_row(*key, shared) for key, shared in found.items()))


def _row(name: str, replicas: int, shared: Shared | None) -> list[object]:
    if shared is None:
        return [name, replicas, "not installed", "", "", "", "", ""]
    counts = shared.counts
    return [name, replicas, f"{counts.reached:.1%}", counts.most, counts.refused,
            f"{shared.commands:.2f}", f"{shared.round_trips:.2f}", f"{shared.for_pace:.2f}"]


if __name__ == "__main__":
    main()
