"""Retry queues: what goes there, what comes back, and what a process that dies between the two leaves."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from sender.queues.queue import RETRY
from sender.queues.queue_url import open_queue
from tests.queues.brokers import KINDS
from tests.support.fleet import Consumer
from tests.support.messages import read
from tests.support.processes import email, outcomes, running_sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from sender.queues import Message
    from tests.support.processes import Sandbox

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REASON = {"reason": "failed", "code": "http_503"}
kafka = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


@pytest.mark.parametrize("broker", list(KINDS), indirect=True)
async def test_a_message_comes_back_as_it_was_and_tells_which_retry_it_is(broker: Any) -> None:
    """Over whatever broker; here its queue is its own retry queue."""
    line = json.dumps(email(1)).encode()
    await broker.put(line, headers={"traceparent": TRACE, "x-sender-redrive": "1"})
    queue, target = broker.queue(return_after=30.0), broker.sink(broker.name)
    seen: list[Message] = []
    for _ in range(3):
        (found,) = await read(queue, 1)
        seen.append(found)
        await target.retry(found, {**REASON, "retry": len(seen)})
        await queue.ack([found])
    assert [(one.retries, one.deliveries, one.data) for one in seen] == [(n, 1, line) for n in range(3)]
    assert [one.headers.get("traceparent") for one in seen] == [TRACE] * 3
    assert [one.is_copy for one in seen] == [True] * 3
    assert "x-sender-redrive" not in seen[1].headers, "an operator's word holds for one try"
    assert len({one.identity for one in seen}) == 1
    assert len({one.id for one in seen}) == 3


@pytest.mark.parametrize("broker", ["rabbit-quorum", "rabbit-classic"], indirect=True)
async def test_a_queue_with_a_time_to_live_is_a_delay(broker: Any) -> None:
    """As the page of queues says of RabbitMQ."""
    waits = f"{broker.name}-waits"
    async with broker.channel() as channel:
        await channel.declare_queue(waits, durable=True, arguments={
            "x-queue-type": broker.kind, "x-message-ttl": 1500, "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": broker.name,
        })
    await broker.put(b"{}")
    queue, target = broker.queue(return_after=30.0), broker.sink(waits)
    (found,) = await read(queue, 1)
    began = time.monotonic()
    await target.retry(found, REASON)
    await queue.ack([found])
    (again,) = await read(queue, 1)
    assert time.monotonic() - began > 1.4
    assert (again.retries, again.deliveries, again.identity) == (1, 1, found.identity)
    await queue.ack([again])


@kafka
async def test_a_key_stays_with_its_message(broker: Any) -> None:
    await broker.put_keyed((b"ada", b"{}"), (None, b"{}"))
    queue, target = broker.queue(), broker.sink(broker.name)
    for one in await read(queue, 2):
        await target.retry(one, REASON)
        await queue.ack([one])
    again = await read(queue, 2)
    assert [(one.key, one.retries) for one in again] == [(b"ada", 1), (None, 1)]


class Retried:
    """A topic, its retry topic with a delay, and a consumer of both."""

    def __init__(self, broker: Any, sandbox: Sandbox, folder: Path) -> None:
        self.broker, self.sandbox, self.folder = broker, sandbox, folder
        self.retry = f"{broker.name}-retry"

    async def make(self) -> None:
        await asyncio.to_thread(self.broker.kafka.make, self.retry)

    def start(self, *more: str) -> Consumer:
        again = self.broker.url(more="&delay=1").replace(f"/{self.broker.name}?", f"/{self.retry}?")
        return Consumer(
            self.folder, "consumer", self.broker.url(), again, "--ledger", "ledger", "--outcomes", "log.jsonl",
            "--base-url", self.sandbox.url, "--dead-letter", self.broker.sink_url(), "--retry-to",
            self.broker.sink_url(name=self.retry), "--log-format", "json", "--reconcile-lag", "3600", *more,
        )

    def told(self, name: str) -> list[str]:
        """What the outcome log says of a job, line by line."""
        path = self.folder / "log.jsonl"
        return [line["status"] for line in outcomes(path) if line["id"] == name] if path.exists() else []


def job(kind: str, name: str) -> bytes:
    payload = {"to": "+15551234567", "transactional_message_id": 4, "identifiers": {"id": "42"}}
    return json.dumps({"id": name, "kind": kind, "payload": {**payload, "message_data": {"n": name}}}).encode()


async def until(what: Any, consumer: Consumer) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(what):
            assert consumer.process.poll() is None, consumer.told
            await asyncio.sleep(0.1)


@kafka
async def test_what_failed_is_tried_again_later_and_no_other_end_is(broker: Any, tmp_path: Path) -> None:
    """Each try has its own outcome line; the last one holds."""
    with running_sandbox("--rate-send", "1000") as sandbox:
        retried = Retried(broker, sandbox, tmp_path)
        await retried.make()
        fault: Any = {"fault": "status_503", "body": "api", "retry_after": "none"}
        sandbox.post("faults", **fault, path="/v1/send/email", count=2)
        sandbox.post("faults", **fault, path="/v1/send/in_app")
        sandbox.post("faults", fault="status_422", path="/v1/send/sms")
        sandbox.post("faults", fault="accept_500", path="/v1/send/push", count=1)
        await broker.put(
            json.dumps({**email(1), "id": "late"}).encode(), job("in_app", "never"), job("sms", "refused"),
            job("push", "doubtful"), b'{"torn',
        )
        consumer = retried.start("--max-attempts", "1", "--retries", "2")
        try:
            await until(lambda: len(retried.told("late")) == 3 and len(retried.told("never")) == 3, consumer)
            body = (await asyncio.to_thread(consumer.get, "/metrics"))[1].decode()
            assert await asyncio.to_thread(consumer.end) == 0, consumer.told
        finally:
            consumer.kill()
        letters = {reason["id"]: reason for _, reason in await broker.letters()}
    assert retried.told("late") == ["failed", "failed", "sent"]
    assert retried.told("never") == ["failed"] * 3
    assert {name: (one["reason"], one.get("retries")) for name, one in letters.items()} == {
        "never": ("failed", 2), "refused": ("rejected", None), "doubtful": ("in_doubt", None), None: ("invalid", None),
    }
    assert "sender_retries_written_total 4.0" in body
    assert 'sender_condition{condition="retry queue of default"} 1.0' in body


@kafka
async def test_a_job_is_sent_once_though_a_process_died_between_copy_and_acknowledgement(
    broker: Any, tmp_path: Path
) -> None:
    line = email(1)
    del line["id"]
    await broker.put(json.dumps(line).encode())
    other = open_queue(broker.url().replace("group=senders", "group=others"))
    (found,) = await read(other, 1)
    await other.aclose()
    with running_sandbox("--rate-send", "1000") as sandbox:
        retried = Retried(broker, sandbox, tmp_path)
        await retried.make()
        await broker.sink(retried.retry).retry(found, REASON)
        consumer = retried.start()
        try:
            log = tmp_path / "log.jsonl"
            await until(lambda: log.exists() and len(outcomes(log)) == 2, consumer)
            assert await asyncio.to_thread(consumer.end) == 0, consumer.told
        finally:
            consumer.kill()
        assert len(sandbox.messages) == 1
    assert sorted(line["status"] for line in outcomes(log)) == ["duplicate", "sent"]


@kafka
async def test_a_retry_topic_that_is_not_there_keeps_the_message_in_hand_and_is_told(
    broker: Any, tmp_path: Path
) -> None:
    with running_sandbox("--rate-send", "1000") as sandbox:
        retried = Retried(broker, sandbox, tmp_path)
        consumer = retried.start()
        try:
            await until(lambda: b"there is no topic" in consumer.get("/readyz")[1], consumer)
            await retried.make()
            await until(lambda: consumer.ready, consumer)
            assert await asyncio.to_thread(consumer.end) == 0, consumer.told
        finally:
            consumer.kill()


@pytest.mark.parametrize("text", ["", "-1", "x", "1" * 40, "\u00b2", "1.5"])
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
async def test_a_count_of_retries_that_is_none(broker: Any, text: str) -> None:
    await broker.put(b"{}", headers={RETRY: text})
    (found,) = await read(broker.queue(), 1)
    assert found.retries == 0
