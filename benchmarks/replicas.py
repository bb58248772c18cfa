"""Many consumers on one Redis: python benchmarks/replicas.py [JOBS] [REPLICAS] [--save]

Three runs against a sandbox that stamps every arrival: undisturbed; with one replica killed (-9) and Redis restarted
on its append-only file in the middle; and the drain of one busy replica. The rate is that while there is work and
nobody waits for anybody: gaps of half a second and more are left out (the window after a restart of Redis, and the
half minute after which a dead replica's part is taken over). Trips are calls of scripts of the shared state, for each
request: those of the pacers, and all with the ledger's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import results
from common import KEY, sandbox
from counts import most_in_second
from redis import Redis
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 100
PATIENCE = 75.0
"""Seconds beyond what the limit asks for, after which a run is given up: a dead replica's part takes 30."""
GAP = 0.5
RESERVING = "zremrangebyscore"
"""The command that only the script for slots calls."""
QUIET = 3.0
"""Seconds without work or arrival after which a run is over."""


def main() -> None:
    jobs, replicas = results.numbers(3000, 4)
    rows = []
    for name, hurt in (("undisturbed", nothing), ("kill -9 of one replica, Redis restarted", kill_and_restart)):
        with Fleet(jobs, replicas) as fleet:
            rows.append(fleet.row(name, hurt))
    with Fleet(jobs, replicas) as fleet:
        drain = fleet.drain()
    head = ("run", "rate", "most in any second", "429", "accepted", "lost", "twice", "in doubt", "trips of pacers, all")
    notes = (
        f"{replicas} replicas of `sender consume` on one Redis, {jobs:,} jobs, {LIMIT}/s for all together. Rate: while "
        "there is work, gaps of half a second and more left out. In doubt: letters with that reason; their jobs may "
        "have been accepted. Trips: round trips to Redis for each request, the pacers' and all of the shared state's."
    )
    results.tell("replicas", "Replicas of a consumer", notes, results.table(head, rows), drain)


class RedisServer:
    """With an append-only file; knows how many scripts it ran for the shared state."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            sys.exit("redis-server is not installed (Debian: apt-get install redis-server)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "everysec",
        ]
        self.client = Redis(port=self.port, socket_timeout=5)
        self._ran = (0, 0)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                self.client.ping()
            except RedisError:
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        self._ran = self.scripts
        self._process.terminate()
        self._process.wait()

    @property
    def scripts(self) -> tuple[int, int]:
        """Calls to the shared state so far: reservations of slots, and all."""
        found: Any = self.client.info("commandstats")
        reserved, every = (int(found.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in (RESERVING, "evalsha"))
        return self._ran[0] + reserved, self._ran[1] + every


class Fleet:
    """Replicas beside one Redis and one sandbox, with jobs in the stream; their state is there, too, or elsewhere."""

    def __init__(self, jobs: int, replicas: int, state: str = "") -> None:
        self.jobs, self.replicas, self._state = jobs, replicas, state
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.redis = RedisServer(self.folder)
        self._stack.callback(self.redis.stop)
        self.url = self._stack.enter_context(sandbox())
        self._fill()
        self.processes = [self._start(number) for number in range(self.replicas)]
        self._stack.callback(self._end)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _fill(self) -> None:
        self.redis.client.xgroup_create("jobs", "senders", id="0", mkstream=True)
        with self.redis.client.pipeline(transaction=False) as pipe:
            for number in range(self.jobs):
                payload = {
                    "to": f"person{number}@example.com", "transactional_message_id": 3,
                    "identifiers": {"id": str(number)}, "message_data": {"n": number},
                }
                pipe.xadd("jobs", {"job": json.dumps({"id": f"r-{number}", "kind": "email", "payload": payload})})
            pipe.execute()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        url = f"redis://127.0.0.1:{self.redis.port}"
        command = [
            sys.executable, "-m", "sender", "consume", f"{url}/0?stream=jobs&group=senders", "--state",
            self._state or f"{url}/1",
            "--dead-letter", f"{url}/0?stream=dead", "--base-url", self.url, "--log-format", "json",
            "--outcomes", f"outcomes-{number}.jsonl", "--reconcile-lag", "1",
        ]
        environment = {**os.environ, "SENDER_API_KEY": KEY, "XDG_STATE_HOME": os.devnull}
        with (self.folder / f"log-{number}").open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)

    def _end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()

    def row(self, name: str, hurt: Callable[[Fleet], None]) -> tuple[object, ...]:
        """One line of the table."""
        hurt(self)
        self._until_over()
        stamps = self.stamps
        pacers, every = self.redis.scripts
        numbers = Counter(message["payload"]["message_data"]["n"] for message in self._ask("messages"))
        doubts = set(range(self.jobs)) & self._in_doubt()
        lost = set(range(self.jobs)) - set(numbers) - doubts
        lane = self._ask("stats")["lanes"]["send"]
        return (
            name, f"{rate_of(stamps):.2f}/s", most_in_second(stamps), lane["rejected_429"], len(numbers), len(lost),
            sum(count > 1 for count in numbers.values()), len(doubts),
            f"{pacers / len(stamps):.3f}, {every / len(stamps):.3f}",
        )

    def drain(self) -> str:
        """One sentence on the end of a busy replica."""
        self.wait_for(self.jobs // 6)
        start = time.monotonic()
        self.processes[0].terminate()
        status = self.processes[0].wait()
        took = time.monotonic() - start
        return f"Drain of a busy replica: {took:.2f} s, exit status {status}"

    @property
    def stamps(self) -> list[float]:
        """Instants of all arrivals in the lane `send`, in seconds."""
        rows = self._ask("stats?arrivals=1")["arrivals"]
        return sorted(row["at_ns"] / 1e9 for row in rows if row["lane"] == "send")

    def wait_for(self, arrivals: int) -> None:
        """Return when the sandbox has seen so many."""
        while self._ask("stats")["lanes"]["send"]["arrived"] < arrivals:
            time.sleep(0.05)

    def _until_over(self) -> None:
        ends = time.monotonic() + self.jobs / LIMIT + PATIENCE
        seen, since = -1, time.monotonic()
        while time.monotonic() < ends and time.monotonic() - since < QUIET:
            arrived = self._ask("stats")["lanes"]["send"]["arrived"]
            group: Any = self.redis.client.xinfo_groups("jobs")
            if arrived != seen or group[0]["pending"] or group[0]["lag"]:
                seen, since = arrived, time.monotonic()
            time.sleep(0.25)

    def _in_doubt(self) -> set[int]:
        """Jobs whose last word is that nobody knows, by the dead letters."""
        dead: Any = self.redis.client.xrange("dead")
        letters = [fields for _, fields in dead if json.loads(fields[b"reason"])["reason"] == "in_doubt"]
        lines = [json.loads(fields[b"job"]) for fields in letters]
        return {line["payload"]["message_data"]["n"] for line in lines}

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sandbox/{path}") as answer:
            return json.load(answer)


def nothing(_: Fleet) -> None:
    """Leave it alone."""


def kill_and_restart(fleet: Fleet) -> None:
    """One replica dies, and a little later Redis is restarted."""
    fleet.wait_for(fleet.jobs // 4)
    fleet.processes[1].send_signal(signal.SIGKILL)
    fleet.wait_for(fleet.jobs // 2)
    fleet.redis.stop()
    fleet.redis.start()


def rate_of(stamps: list[float]) -> float:
    """Requests a second, without the gaps and without the last second, in which not everybody has work."""
    gaps = [second - first for first, second in pairwise(stamps) if second < stamps[-1] - 1]
    busy = [gap for gap in gaps if gap < GAP]
    return len(busy) / sum(busy)


if __name__ == "__main__":
    main()
