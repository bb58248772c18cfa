"""RabbitMQ messages without a `message_id`, which is what pika publishes, from end to end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pika
import pytest

from tests.support.fleet import Consumer
from tests.support.messages import read
from tests.support.processes import email, running_sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.queues.brokers import Rabbit
    from tests.support.processes import Sandbox

both = pytest.mark.parametrize("broker", ["rabbit-classic", "rabbit-quorum"], indirect=True)
JOBS = 60


def nameless(number: int) -> bytes:
    return json.dumps({name: value for name, value in email(number).items() if name != "id"}).encode()


def publish(broker: Rabbit, *bodies: bytes) -> None:
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.server.port)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # else a quorum queue may not have the last ones when the connection closes
        for body in bodies:
            channel.basic_publish("", broker.name, body, pika.BasicProperties(delivery_mode=2))


def start(broker: Rabbit, sandbox: Sandbox, folder: Path, name: str, rate: str) -> Consumer:
    return Consumer(
        folder, name, broker.url(), "--ledger", "alone.ledger", "--outcomes", f"{name}.jsonl", "--base-url",
        sandbox.url, "--dead-letter", broker.sink_url(), "--log-format", "json", "--rate", rate,
    )


async def until(consumer: Consumer, what: Any) -> None:
    async with asyncio.timeout(40):
        while not what():
            assert consumer.process.poll() is None, consumer.told
            await asyncio.sleep(0.05)


@both
async def test_a_copy_of_a_nameless_message_stays_nameless(broker: Rabbit) -> None:
    """The copy got a random message_id, and with it another identity."""
    await asyncio.to_thread(publish, broker, b"{}")
    queue = broker.queue()
    (message,) = await read(queue, 1)
    await queue.requeue([message])
    (copy,) = await read(queue, 1)
    assert (copy.identity, copy.id) == (None, message.id)
    await queue.requeue([copy])
    (again,) = await read(queue, 1)
    assert (again.identity, again.id) == (None, message.id)


@both
async def test_killed_and_stopped_with_nameless_messages_nothing_is_sent_twice(broker: Rabbit, tmp_path: Path) -> None:
    """600 jobs and one kill -9: 37 were sent twice."""
    await asyncio.to_thread(publish, broker, *map(nameless, range(JOBS)))
    with running_sandbox("--rate-send", "1000") as sandbox:
        killed = start(broker, sandbox, tmp_path, "killed", "20")
        await until(killed, lambda: len(sandbox.messages) >= 10)
        killed.kill()
        stopped = start(broker, sandbox, tmp_path, "stopped", "20")
        await until(stopped, lambda: len(sandbox.messages) >= 25)
        assert await asyncio.to_thread(stopped.end) == 0, stopped.told
        last = start(broker, sandbox, tmp_path, "last", "1000")
        await until(last, lambda: len(set(sandbox.numbers())) + len(doubts(tmp_path)) >= JOBS)
        assert await asyncio.to_thread(last.end) == 0, last.told
        numbers = sandbox.numbers()
        assert len(numbers) == len(set(numbers)), "sent twice"
        assert len(set(numbers)) >= JOBS - len(doubts(tmp_path)), "lost"
    assert "known by their content" in last.told


@both
async def test_an_equal_message_without_an_id_is_told_and_counted(broker: Rabbit, tmp_path: Path) -> None:
    """A second event with an equal body was acknowledged with no line, log or count."""
    await asyncio.to_thread(publish, broker, nameless(1), nameless(2), nameless(1))
    with running_sandbox("--rate-send", "1000") as sandbox:
        consumer = start(broker, sandbox, tmp_path, "one", "1000")
        await until(consumer, lambda: b"sender_messages_without_id_total" in consumer.get("/metrics")[1])
        await until(consumer, lambda: b'status="duplicate",workspace="default"} 1.0' in consumer.get("/metrics")[1])
        metrics = consumer.get("/metrics")[1]
        assert await asyncio.to_thread(consumer.end) == 0, consumer.told
        assert sorted(sandbox.numbers()) == [1, 2]
    assert b'sender_messages_without_id_total{workspace="default"} 3.0' in metrics
    assert sorted(line["status"] for line in consumer.outcomes) == ["duplicate", "sent", "sent"]
    assert sum("known by their content" in line["event"] for line in consumer.log) == 1


def doubts(folder: Path) -> set[str]:
    lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    return {line["id"] for line in lines if line["status"] == "in_doubt"}
