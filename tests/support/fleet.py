"""Consumers as processes beside a real Redis and a real sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

import redis

from sender.engine.pacing.pace import window_of
from sender.shared_state.state_url import open_state
from tests.support.fork_server import popen
from tests.support.processes import SENDER, environment, outcomes, running_sandbox
from tests.support.servers import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.support.processes import Sandbox

PATIENCE = 30.0


def until(what: Callable[[], Any], seconds: float = PATIENCE, told: Callable[[], object] = lambda: "") -> None:
    """Return as soon as it is true."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, told()
        time.sleep(0.03)


class Consumer:
    """One process and what it left."""

    started: ClassVar[list[Consumer]] = []

    def __init__(self, folder: Path, name: str, *arguments: str, **more: str) -> None:
        self.folder, self.name = folder, name
        self.port = free_port()
        self.command = [*SENDER, "consume", *arguments, "--health-port", str(self.port), "--health-host", "127.0.0.1"]
        self.environment = environment(**more)
        with (folder / f"{name}.err").open("ab") as err, (folder / f"{name}.out").open("ab") as out:
            self.process = popen(
                self.command, cwd=folder, env=self.environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )
        self.started.append(self)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self, seconds: float = PATIENCE) -> int:
        """Its exit status after a SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def told(self) -> str:
        return (self.folder / f"{self.name}.err").read_text()

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.told.splitlines()]

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        return outcomes(self.folder / f"{self.name}.jsonl")

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    @property
    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200


class Fleet:
    """A folder with one Redis (queue in database 0, state in 1), one sandbox, and consumers."""

    def __init__(self, folder: Path, *sandbox_arguments: str, aof: bool = True, state_aof: bool | None = None) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._names = count()
        self.consumers: list[Consumer] = []
        self.broker = self._server("broker", aof=aof)
        self.state = self.broker if state_aof is None else self._server("state", aof=state_aof)
        self.state.use_send_lane(1)
        self.sandbox: Sandbox = self._stack.enter_context(running_sandbox(*sandbox_arguments))

    def warm(self, rate: float) -> None:
        """As if the state had been in use: a new one makes every lane wait for a window."""

        async def declare() -> None:
            state = await open_state(self.state_url, host=urlsplit(self.sandbox.url).netloc)
            for lane, limit in (("send", rate), ("trigger", 0.1), ("app", 10.0)):
                count, window = window_of(limit)
                await state._server.lanes.ask(lane, "declare", limit, count, int(window * 1e6))
                await state._connection.command("HSET", f"sender:{{default}}:lane:{lane}", "floor", 0)
            await state.close()

        asyncio.run(declare())

    def _server(self, name: str, *, aof: bool) -> RedisServer:
        folder = self.folder / name
        folder.mkdir()
        server = RedisServer(folder, aof=aof).start()
        self._stack.callback(server.stop)
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.consumers:
            one.kill()
        self._stack.close()

    def url(self, stream: str = "jobs", more: str = "") -> str:
        return f"{self.broker.url}?stream={stream}&group=senders{more}"

    @property
    def state_url(self) -> str:
        return self.state.url.removesuffix("/0") + "/1"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.broker.port, socket_timeout=5)

    def put(self, *jobs: dict[str, Any] | bytes, stream: str = "jobs") -> list[bytes]:
        with self.client as client, client.pipeline(transaction=False) as pipe:
            for job in jobs:
                pipe.xadd(stream, {"job": job if isinstance(job, bytes) else json.dumps(job)})
            return list(pipe.execute())

    def start(self, *arguments: str, urls: Iterable[str] = (), shared: bool = True, **more: str) -> Consumer:
        """A consumer of the stream `jobs`, or of these; with the shared state, or a ledger of its own."""
        name = f"consumer-{next(self._names)}"
        memory = ("--state", self.state_url) if shared else ("--ledger", "alone.ledger")
        outcome = () if "--outcomes" in arguments else ("--outcomes", f"{name}.jsonl")
        consumer = Consumer(
            self.folder, name, *(urls or (self.url(),)), *memory, *outcome, "--base-url", self.sandbox.url,
            "--dead-letter", f"{self.broker.url}?stream=dead", "--log-format", "json", *arguments, **more,
        )
        self.consumers.append(consumer)
        return consumer

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE) -> None:
        until(what, seconds, lambda: [one.told[-3000:] for one in self.consumers])

    def until_sent(self, number: int, seconds: float = PATIENCE) -> None:
        self.until(lambda: self.arrived >= number, seconds)

    @property
    def arrived(self) -> int:
        return int(self.sandbox.lanes["send"]["arrived"])

    @property
    def open(self) -> int:
        """Messages that wait or are in somebody's hand."""
        with self.client as client:
            found: Any = client.xinfo_groups("jobs")
        return int(found[0]["pending"] + (found[0]["lag"] or 0)) if found else -1

    def pending(self, stream: str = "jobs") -> list[dict[str, Any]]:
        with self.client as client:
            return list(client.xpending_range(stream, "senders", "-", "+", 1000))  # type: ignore[arg-type]

    @property
    def letters(self) -> dict[str, dict[str, Any]]:
        """Reasons in the dead letter, by the id of the job."""
        with self.client as client:
            entries: Any = client.xrange("dead")
        found = [(json.loads(fields[b"reason"]), fields[b"job"]) for _, fields in entries]
        return {str(reason["id"]): {**reason, "job": job} for reason, job in found}

    def most_in_any_second(self) -> int:
        return int(self.sandbox.lanes["send"]["max_in_window"])

    def stamps(self) -> list[float]:
        rows = self.sandbox.get("stats?arrivals=1")["arrivals"]
        return sorted(row["at_ns"] / 1e9 for row in rows if row["lane"] == "send")

    def books(self, jobs: int) -> set[str]:
        """Each of the jobs was accepted once, or is in doubt; returns the doubtful ones."""
        accepted = Counter(f"job-{number}" for number in self.sandbox.numbers())
        letters = self.letters
        doubts = {name for name, letter in letters.items() if letter["reason"] == "in_doubt"}
        assert not {name for name, times in accepted.items() if times > 1}, "sent twice"
        assert set(accepted) | doubts == {f"job-{number}" for number in range(jobs)}, "lost"
        assert set(letters) == doubts
        return doubts

    def end_all(self) -> None:
        """Drain those that live; each ends cleanly."""
        living = [one for one in self.consumers if one.process.poll() is None]
        for one in living:
            one.signal(signal.SIGTERM)
        assert {one.wait() for one in living} <= {0}, [one.told[-2000:] for one in living]
