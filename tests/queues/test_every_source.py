"""What every way in promises, from end to end: files, stdin, and each queue on its real server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.queues.brokers import KINDS
from tests.support.fleet import Consumer
from tests.support.processes import email, outcomes, running_sandbox, sender

if TYPE_CHECKING:
    from pathlib import Path

    from sender.queues import Queue
    from tests.support.processes import Sandbox

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": "/dev/null"}
GOOD = [email(number) for number in range(8)]
CONFLICT = email(1) | {"payload": email(1)["payload"] | {"to": "other@example.com"}}
PILE = [*map(json.dumps, [*GOOD, GOOD[0], CONFLICT, {"id": "broken", "kind": "email"}]), '{"torn']


class Way(Protocol):
    """One way in."""

    async def send(self, lines: list[str], sandbox: Sandbox, *, jobs: int) -> None:
        """Have these lines sent by a new process; at its end so many jobs have been accepted since the beginning."""


class Given:
    """A file, or stdin."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    async def send(self, lines: list[str], sandbox: Sandbox, *, jobs: int) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        (self.folder / "jobs.jsonl").write_bytes(data)
        source = "jobs.jsonl" if self.name == "file" else "-"
        done = await asyncio.to_thread(
            sender, "send", source, "--base-url", sandbox.url, "--outcomes", "log.jsonl", "--ledger", "ledger",
            "--no-progress", "--no-reconcile", cwd=self.folder, stdin=data if source == "-" else None,
        )
        assert done.returncode == 1, done.stderr.decode()
        assert len(sandbox.messages) == jobs


class Queued:
    """A queue."""

    def __init__(self, broker: Any, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self._queue: Queue | None = None

    async def send(self, lines: list[str], sandbox: Sandbox, *, jobs: int) -> None:
        await self.broker.put(*[line.encode() for line in lines])
        consumer = Consumer(
            self.folder, "consumer", self.broker.url(), "--ledger", "ledger", "--outcomes", "log.jsonl", "--base-url",
            sandbox.url, "--dead-letter", self.broker.sink_url(), "--no-reconcile", **AWS,
        )
        try:
            async with asyncio.timeout(40):
                while len(sandbox.messages) < jobs or not await self.is_empty():
                    assert consumer.process.poll() is None, consumer.told
                    await asyncio.sleep(0.2)
            assert await asyncio.to_thread(consumer.end) == 0, consumer.told
        finally:
            consumer.kill()

    async def is_empty(self) -> bool:
        """Whether nothing waits to be read."""
        if self._queue is None:
            self._queue = self.broker.queue()
        return not await self._queue.lag()


@pytest.fixture
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    if request.param in KINDS:
        kind, server = KINDS[request.param]
        return Queued(kind(request.getfixturevalue(server)), tmp_path)
    return Given(request.param, tmp_path)


@pytest.mark.parametrize("way", ["file", "stdin", *KINDS], indirect=True)
async def test_each_job_is_sent_once_whatever_comes_again(way: Way, tmp_path: Path) -> None:
    with running_sandbox("--rate-send", "1000") as sandbox:
        if isinstance(way, Queued):
            async with way.broker.ready():
                await play(way, sandbox)
        else:
            await play(way, sandbox)
    told = outcomes(tmp_path / "log.jsonl")
    sent = {line["id"]: line for line in told if line["status"] == "sent"}
    assert set(sent) == {job["id"] for job in [*GOOD, email(8)]}
    assert all(line["delivery_id"] for line in sent.values())
    invalid = {(line["id"], line["error"]["code"]) for line in told if line["status"] == "invalid"}
    assert invalid == {("broken", "missing_payload"), ("job-1", "id_conflict"), (None, "invalid_json")}
    assert {line["status"] for line in told} <= {"sent", "invalid", "duplicate"}


async def play(way: Way, sandbox: Sandbox) -> None:
    """The pile, and the pile once more with one new job."""
    await way.send(PILE, sandbox, jobs=len(GOOD))
    await way.send([*PILE, json.dumps(email(8))], sandbox, jobs=len(GOOD) + 1)
    assert sorted(sandbox.numbers()) == list(range(len(GOOD) + 1))
