"""What a shared state costs its server: python benchmarks/state_cost.py [SECONDS] [REPLICAS] [--save]

Consumers read a stream of one Redis, and have their state on a server of its own: Redis or PostgreSQL. While they hold
100 requests a second, the calls to that server are counted (statements, BEGIN and COMMIT too), its processor time, and
what it writes to its log.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import results
from counts import most_in_second
from postgres_server import postgres_server
from redis import Redis
from redis_server import redis_server
from replicas import LIMIT, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postgres_server import PostgresServer

WARM = 5.0
"""Seconds that do not count: a new state makes every lane wait for a window."""


class Used(NamedTuple):
    """So far."""

    calls: float
    cpu: float
    written: float


class State(NamedTuple):
    """A server for a state, and what it has done."""

    url: str
    used: Callable[[], Used]


def main() -> None:
    seconds, replicas = results.numbers(20, 4)
    rows = [measure(name, opening, seconds, replicas) for name, opening in (
        ("Redis, appendfsync everysec", redis_state), ("PostgreSQL, as installed", postgres_state)
    )]
    head = ("state", "requests/s", "most in any second", "calls/s", "calls per request",
            "CPU of the server, ms/request", "written to its log, bytes/request")
    notes = (
        f"{replicas} replicas of `sender consume` on a stream of another Redis, {LIMIT}/s for all together, "
        f"{seconds} s. "
        "Calls are round trips of the ledger and of the pacers: scripts of Redis, statements of PostgreSQL. PostgreSQL "
        "has each hand-over and each end on its disk before it answers; Redis has it there a second later."
    )
    results.tell("state-cost", "What a shared state costs", notes, results.table(head, rows))


def measure(name: str, opening: Callable[[], Iterator[State]], seconds: float, replicas: int) -> tuple[object, ...]:
    """One line of the table."""
    with contextmanager(opening)() as state, Fleet(int((seconds + 3 * WARM) * LIMIT), replicas, state.url) as fleet:
        fleet.wait_for(1)
        time.sleep(WARM)
        begin, before = time.time(), state.used()
        time.sleep(seconds)
        end, after = time.time(), state.used()
        stamps = [stamp for stamp in fleet.stamps if begin <= stamp < end]
    calls, cpu, written = (new - old for new, old in zip(after, before, strict=True))
    number = len(stamps)
    return (
        name, f"{number / seconds:.1f}", most_in_second(stamps), f"{calls / seconds:.0f}", f"{calls / number:.2f}",
        f"{1000 * cpu / number:.2f}", f"{written / number:.0f}",
    )


def redis_state() -> Iterator[State]:
    with redis_server() as port, Redis(port=port) as client:

        def used() -> Used:
            calls = client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
            cpu = client.info("cpu")
            log = client.info("persistence")["aof_current_size"]
            return Used(calls, cpu["used_cpu_user"] + cpu["used_cpu_sys"], log)

        yield State(f"redis://127.0.0.1:{port}/0", used)


def postgres_state() -> Iterator[State]:
    with postgres_server() as server:
        yield State(server.url, lambda: _used(server))


def _used(server: PostgresServer) -> Used:
    return Used(server.statements, server.cpu, server.written)


if __name__ == "__main__":
    main()
