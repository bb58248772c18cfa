"""`sender consume` from end to end on each other broker than Redis: sent, dead letter, acknowledged, drained."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fleet import Consumer
from tests.support.processes import email, running_sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Sandbox

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_CONFIG_FILE": "/dev/null"}
JOBS = 12


@pytest.mark.parametrize("broker", ["rabbit-quorum", "jetstream", "sqs", "kafka"], indirect=True)
async def test_two_in_turn_send_all_and_what_the_first_gave_back_counts_as_undelivered(
    broker: Any, tmp_path: Path
) -> None:
    await broker.put(*[json.dumps(email(n)).encode() for n in range(JOBS)], b'{"id": "broken", "kind": "email"}')
    with running_sandbox("--rate-send", "1000") as sandbox:
        await run(broker, sandbox, tmp_path, "first", "3", jobs=2)
        assert len(sandbox.messages) < JOBS
        await run(broker, sandbox, tmp_path, "second", "1000", jobs=JOBS)
        letters = await broker.letters()
        assert sorted(sandbox.numbers()) == list(range(JOBS))
    queue = broker.queue(return_after=5.0)
    assert list(await queue.read(10)) == [], "all were acknowledged"
    assert [reason["id"] for _, reason in letters] == ["broken"]


@pytest.mark.parametrize("broker", ["sqs"], indirect=True)
async def test_a_redrive_policy_swallows_nothing_that_was_not_tried(broker: Any, tmp_path: Path) -> None:
    """Broadcasts, one in 100 s, were given back each second, and the queue's own dead letter had 52 of 60 in 15 s."""
    swallowed = f"swallowed-{broker.name}"
    async with broker.client() as client:
        await client.create_queue(QueueName=swallowed)
        policy = {"deadLetterTargetArn": f"arn:aws:sqs:eu-west-1:123456789012:{swallowed}", "maxReceiveCount": 3}
        url = (await client.get_queue_url(QueueName=broker.name))["QueueUrl"]
        await client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    broadcasts = [{"id": f"b-{n}", "kind": "broadcast", "broadcast_id": 1, "payload": {}} for n in range(40)]
    await broker.put(*[json.dumps(one).encode() for one in (*broadcasts, *map(email, range(20)))])
    with running_sandbox("--rate-send", "1000") as sandbox:
        consumer = start(broker, sandbox, tmp_path, "first", "1000", "--rate", "trigger=0.01", "--prefetch", "20")
        try:
            await sent(consumer, sandbox, 20)
            await asyncio.sleep(6)
            assert await asyncio.to_thread(consumer.end) == 0, consumer.told
        finally:
            consumer.kill()
    async with broker.client() as client:
        url = (await client.get_queue_url(QueueName=swallowed))["QueueUrl"]
        found = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        assert found["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert await broker.letters() == []


async def run(broker: Any, sandbox: Sandbox, folder: Path, name: str, rate: str, *, jobs: int) -> None:
    """A consumer until so many jobs were sent, and its drain."""
    consumer = start(broker, sandbox, folder, name, rate)
    try:
        await sent(consumer, sandbox, jobs)
        assert await asyncio.to_thread(consumer.end) == 0, consumer.told
    finally:
        consumer.kill()


def start(broker: Any, sandbox: Sandbox, folder: Path, name: str, rate: str, *more: str) -> Consumer:
    return Consumer(
        folder, name, broker.url(), "--ledger", "alone.ledger", "--outcomes", f"{name}.jsonl", "--base-url",
        sandbox.url, "--dead-letter", broker.sink_url(), "--log-format", "json", "--rate", rate,
        "--max-deliveries", "1", *more, **AWS,
    )


async def sent(consumer: Consumer, sandbox: Sandbox, jobs: int) -> None:
    """Return when so many jobs were sent."""
    async with asyncio.timeout(40):
        while len(sandbox.messages) < jobs:
            assert consumer.process.poll() is None, consumer.told
            await asyncio.sleep(0.1)
