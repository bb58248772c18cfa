"""Four replicas at work, everything that they need, and the books at their end; campaigns make it hard for them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

from tests.campaigns.relay import Relay
from tests.campaigns.state_pair import StatePair
from tests.queues.brokers import KINDS, SqsFifo
from tests.support.databases import PostgresServer
from tests.support.kafka_server import KafkaServer
from tests.support.processes import KEY, SENDER, email, environment, outcomes, running_sandbox, sender
from tests.support.servers import NatsServer, RabbitServer, RedisServer, SqsServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.campaigns.hosts import Hosts
    from tests.queues.brokers import Broker
    from tests.support.processes import Sandbox
    from tests.support.servers import Server

LIMIT = 100
REPLICAS = 4
QUIET = 60.0
"""Seconds without an arrival, while jobs are open, after which it is over: a dead replica's part takes 30."""
SETTLED = 10.0
"""Seconds after its start from which a replica surely knows the signals of an operator; before, they would end it."""
END_WITHIN = 70.0
"""Seconds: `terminationGracePeriodSeconds` of the manifests, and some."""
BATCH = 500
AHEAD = 100
"""Messages that wait in moto at most: each of its answers takes longer the more there are."""
GROUPS = 100
"""Of a FIFO queue: in each group one message at a time is in hand, until a dead replica's returns."""
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": "/dev/null",
       "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
SERVERS: dict[str, Callable[[Path], Server]] = {
    "redis_server": RedisServer, "rabbit_server": RabbitServer, "nats_server": NatsServer, "sqs_server": SqsServer,
    "postgres_server": lambda _: PostgresServer(), "kafka_server": KafkaServer,
}


@dataclass
class Books:
    """What became of the jobs, as the API saw it, and what the replicas say."""

    jobs: int
    accepted: Counter[int]
    doubted: set[int]
    """Reported in doubt at some time."""
    letters: Counter[str]
    """In the dead letter queue at the end, by code."""
    most: int
    """Most requests in any second."""
    too_many: int
    """Requests that were answered 429."""
    done: Counter[str] = field(default_factory=Counter)
    """What was done to the replicas."""

    @property
    def lost(self) -> list[int]:
        return [number for number in range(self.jobs) if not self.accepted[number] and number not in self.doubted]

    @property
    def twice(self) -> list[int]:
        """Those that nobody reported."""
        return [number for number, times in self.accepted.items() if times > 1 and number not in self.doubted]

    @property
    def good(self) -> bool:
        return not self.lost and not self.twice and self.most <= LIMIT

    def __str__(self) -> str:
        rows = [
            *self.done.items(), ("jobs", self.jobs), ("accepted", len(self.accepted)), ("lost", len(self.lost)),
            ("twice, and not reported", len(self.twice)), ("in doubt at some time", len(self.doubted)),
            ("... of them accepted twice", sum(self.accepted[one] > 1 for one in self.doubted)),
            ("dead letters", self.letters.total()), *((f"... {code}", number) for code, number in self.letters.items()),
            ("most in any second", self.most), ("answered 429", self.too_many),
        ]
        return "\n".join(f"{name:>30}  {number:,}" for name, number in rows)


class Replicas:
    """A folder with servers and replicas; on hosts of their own where there are any."""

    def __init__(self, folder: Path, broker: str, jobs: int, hosts: Hosts | None) -> None:
        self.folder, self.jobs, self.hosts = folder, jobs, hosts
        self._kind, self._server_name = KINDS[broker]
        self._stack = ExitStack()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._over = threading.Event()
        self.stuck = 0
        """Replicas that did not end when they were told to, and were killed."""

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _open(self) -> None:
        os.environ.update(AWS)
        self.state = self._stack.enter_context(StatePair(self.folder))
        self._server = SERVERS[self._server_name](self._made("broker"))
        self._stack.callback(self._server.stop)
        self._server.start()
        self.line = self._stack.enter_context(Relay(self._server.port))
        self.sandbox: Sandbox = self._stack.enter_context(
            running_sandbox("--host", "0.0.0.0", "--latency", "50-300", "--visibility-lag", "1")
        )
        self._api = urlsplit(self.sandbox.url).port
        self.sandbox.url = f"http://127.0.0.1:{self._api}"
        self.broker: Broker = self._kind(self._server)
        self.rotate_key(KEY)
        self._stack.callback(self._end)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def fill(self) -> None:
        """Queues, and all jobs in them; or some, and the others as the first ones leave."""
        asyncio.run(self.broker.make())
        if not isinstance(self._server, SqsServer):
            self._put(BATCH, range(self.jobs))
            return
        self._put(AHEAD, range(min(AHEAD, self.jobs)))
        thread = threading.Thread(target=self._feed, daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(self._over.set)

    def _feed(self) -> None:
        """As a job leaves the queue another one comes, until all have come."""
        put = AHEAD
        while put < self.jobs and not self._over.wait(0.2):
            until = min(self.jobs, AHEAD + int(self.sandbox.lanes["send"]["arrived"]))
            self._put(AHEAD, range(put, until))
            put = max(put, until)

    def _put(self, batch: int, numbers: range) -> None:
        for start in range(0, len(numbers), batch):
            some = numbers[start : start + batch]
            jobs = [json.dumps(email(number)).encode() for number in some]
            if isinstance(self.broker, SqsFifo):
                asyncio.run(self.broker.put(*jobs, groups=[str(number % GROUPS) for number in some]))
            else:
                asyncio.run(self.broker.put(*jobs))

    def start_all(self) -> None:
        for number in range(REPLICAS):
            self.start(number)

    def start(self, number: int) -> None:
        self._started[number] = time.monotonic()
        command = [
            *([] if self.hosts is None else self.hosts.inside(number)), *SENDER, "consume",
            self._at("broker", self.broker.url(port=self.line.port)), "--state",
            f"redis://{self._address('state')}:{self.state.port}/0", "--dead-letter",
            self._at("broker", self._dead(self.line.port)), "--base-url",
            f"http://{self._address('api')}:{self._api}", "--allow-http", "--api-key-file", "key", "--outcomes",
            f"outcomes-{number}.jsonl", "--reconcile-lag", "5", "--timeout", "5", "--log-format", "json",
            "--config", "sender.toml",
        ]
        (self.folder / "sender.toml").touch()
        with (self.folder / f"log-{number}").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                command, cwd=self.folder, env=environment(SENDER_API_KEY=""), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def signal(self, number: int, what: signal.Signals) -> None:
        young = time.monotonic() - self._started[number] < SETTLED
        if self._processes[number].poll() is None and not (young and what in (signal.SIGUSR1, signal.SIGUSR2)):
            self._processes[number].send_signal(what)

    def wait(self, number: int) -> int:
        """Its exit status; one that does not end is killed, as an orchestrator does."""
        try:
            return self._processes[number].wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self.stuck += 1
            self._processes[number].kill()
            return self._processes[number].wait()

    def revive(self) -> int:
        """Start those that ended by themselves, as an orchestrator does; how many there were."""
        ended = [number for number, process in self._processes.items() if process.poll() is not None]
        for number in ended:
            self.start(number)
        return len(ended)

    def forget(self, number: int) -> None:
        """It is none of them any more, and is not started again."""
        self._processes.pop(number, None)

    @property
    def arrived(self) -> int:
        """Requests that reached the API."""
        return int(self.sandbox.lanes["send"]["arrived"])

    def until_arrived(self, number: int) -> None:
        """Until so many requests have reached the API; replicas that end by themselves are started again."""
        seen, since = -1, time.monotonic()
        while (arrived := self.arrived) < number:
            if arrived != seen:
                seen, since = arrived, time.monotonic()
            assert time.monotonic() - since < QUIET, f"nothing arrives any more after {arrived:,} requests"
            self.revive()
            time.sleep(0.1)

    def stamps(self) -> list[float]:
        """When each request arrived, in unix seconds."""
        rows = self.sandbox.get("stats?arrivals=1")["arrivals"]
        return sorted(row["at_ns"] / 1e9 for row in rows if row["lane"] == "send")

    def rotate_key(self, key: str = "") -> None:
        """Another key is taken; the file that holds it follows a little later."""
        self.sandbox.post("key", key=key or (key := secrets.token_hex(16)))
        time.sleep(1.0 if self._processes else 0.0)
        new = self.folder / "key.new"
        new.write_text(key)
        new.replace(self.folder / "key")

    def restart_broker(self) -> None:
        """SQS is a service that never loses what it has: its line breaks for a while."""
        if isinstance(self._server, SqsServer):
            self.line.cut()
            time.sleep(3)
            self.line.mend()
        else:
            self._server.restart()

    def until_over(self) -> None:
        """Until every job was accepted or is reported, or nothing moves any more."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET:
            self.revive()
            for number in self._processes:
                self.signal(number, signal.SIGUSR2)
            arrived = int(self.sandbox.lanes["send"]["arrived"])
            if arrived != seen:
                seen, since = arrived, time.monotonic()
            elif time.monotonic() - since > 5 and self._is_complete():
                return
            time.sleep(2)

    def drain(self) -> list[int]:
        """End all; their exit statuses."""
        for number in self._processes:
            self.signal(number, signal.SIGTERM)
        return [self.wait(number) for number in self._processes]

    def books(self) -> Books:
        lane = self.sandbox.lanes["send"]
        letters = self._letters()
        doubted = {_number(one["id"]) for one in letters if one["status"] == "in_doubt"} | self._told()
        return Books(
            self.jobs, Counter(self.sandbox.numbers()), doubted, Counter(one["code"] for one in letters),
            lane["max_in_window"], lane["rejected_429"],
        )

    def _is_complete(self) -> bool:
        return set(range(self.jobs)) <= set(self.sandbox.numbers()) | self._told()

    def _told(self) -> set[int]:
        """What the outcomes say of doubts."""
        lines = [line for path in self.folder.glob("outcomes-*.jsonl") for line in outcomes(path)]
        return {_number(line["id"]) for line in lines if line["status"] == "in_doubt"}

    def _letters(self) -> list[dict[str, Any]]:
        shown = sender("dead", self._dead(self.line.port), "--json", cwd=self.folder, timeout=300)
        assert shown.returncode == 0, shown.stderr
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def _dead(self, port: int) -> str:
        return self.broker.sink_url().replace(str(self.broker.proxy.port), str(port))

    def _address(self, service: str) -> str:
        return "127.0.0.1" if self.hosts is None else self.hosts.address(service)

    def _at(self, service: str, url: str) -> str:
        return urlunsplit(urlsplit(url)).replace("127.0.0.1", self._address(service))

    def _made(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def _number(name: str) -> int:
    return int(name.removeprefix("job-"))
