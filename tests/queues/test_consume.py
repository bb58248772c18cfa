"""`sender consume` from end to end on each other broker than Redis: sent, dead letter, acknowledged, drained."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.consume.fleet import Consumer
from tests.processes import email, running_sandbox

if TYPE_CHECKING:
    from pathlib import Path

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": "/dev/null"}
JOBS = 12


@pytest.mark.parametrize("broker", ["rabbit-quorum", "jetstream", "sqs"], indirect=True)
async def test_it_sends_acknowledges_and_drains(broker: Any, tmp_path: Path) -> None:
    await broker.put(*[json.dumps(email(n)).encode() for n in range(JOBS)], b'{"id": "broken", "kind": "email"}')
    with running_sandbox("--rate-send", "1000") as sandbox:
        consumer = Consumer(
            tmp_path, "one", broker.url(), "--ledger", "alone.ledger", "--outcomes", "one.jsonl", "--base-url",
            sandbox.url, "--dead-letter", broker.sink_url(), "--log-format", "json", **AWS,
        )  # fmt: skip
        try:
            async with asyncio.timeout(40):
                while len(sandbox.messages) < JOBS or not await broker.letters():
                    assert consumer.process.poll() is None, consumer.told
                    await asyncio.sleep(0.1)
            status = await asyncio.to_thread(consumer.end)
        finally:
            consumer.kill()
        assert status == 0, consumer.told
        assert sorted(sandbox.numbers()) == list(range(JOBS))
    queue = broker.queue(return_after=5.0)
    assert list(await queue.read(10)) == [], "all were acknowledged"
    assert {line["status"] for line in consumer.outcomes} == {"sent", "invalid"}
