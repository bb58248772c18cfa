"""What stands beside each job when `sender consume` is done with it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sender.outbox import enqueue
from sender.outbox.schema import create
from tests.support.fleet import Consumer
from tests.support.processes import email, running_sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.outbox.conftest import Outbox


def job(kind: str, name: str, number: int) -> dict[str, Any]:
    """A template belongs to one channel."""
    template = {"sms": 4, "whatsapp": 5}[kind]
    payload = {**email(number)["payload"], "to": f"+155512345{number}", "transactional_message_id": template}
    return {"id": name, "kind": kind, "payload": payload}


async def test_each_end_stands_beside_its_job_and_a_doubt_that_is_settled_later_too(
    outbox: Outbox, tmp_path: Path
) -> None:
    await outbox.client.execute(create(outbox.table.part("dead"), 0))
    past = datetime.now(UTC) - timedelta(seconds=5)
    jobs: list[tuple[Any, dict[str, Any]]] = [
        (job("sms", "sms", 1), {}), (job("sms", "sms", 1), {}), (job("whatsapp", "refused", 11), {}), (email(12), {}),
        (email(2), {"expires_at": past}), ({"id": "bad", "kind": "email", "payload": {}}, {}),
    ]
    rows = [await enqueue(outbox.client, one, table=str(outbox.table), **more) for one, more in jobs]
    with running_sandbox("--rate-send", "1000", "--visibility-lag", "0") as sandbox:
        sandbox.post("faults", fault="status_422", path="/v1/send/whatsapp")
        sandbox.post("faults", fault="accept_500", path="/v1/send/email", count=1)
        consumer = Consumer(
            tmp_path, "consumer", outbox.url, "--ledger", "ledger", "--outcomes", "-", "--base-url", sandbox.url,
            "--dead-letter", outbox.url + "_dead", "--reconcile-lag", "1",
        )
        try:
            first = ("sent", "duplicate", "rejected", "in_doubt", "invalid", "invalid")
            found = await until(outbox, rows, consumer, *first)
            assert [row["delivery_id"] is None for row in found] == [False, True, True, True, True, True]
            errors = [json.loads(row["error"] or "{}").get("code") for row in found]
            assert errors[4] == "expired"
            assert errors[0] is errors[1] is None
            assert all(errors[2:])
            await enqueue(outbox.client, email(13), table=str(outbox.table))
            found = await until(outbox, rows, consumer, "sent", "duplicate", "rejected", "sent", "invalid", "invalid")
            accepted = {one["payload"]["message_data"]["n"]: one["delivery_id"] for one in sandbox.messages}
            assert found[3]["delivery_id"] == accepted[12]
            assert await asyncio.to_thread(consumer.end) == 0
        finally:
            consumer.kill()
    letters = await outbox.client.fetch(f"SELECT reason ->> 'id' FROM {outbox.table}_dead")
    assert sorted(row[0] for row in letters) == ["bad", "job-12", "job-2", "refused"]


async def test_a_consumer_waits_for_its_table_and_says_what_is_missing(outbox: Outbox, tmp_path: Path) -> None:
    table = outbox.table.part("late")
    with running_sandbox("--rate-send", "1000") as sandbox:
        consumer = Consumer(
            tmp_path, "consumer", f"{outbox.server.url}?table={table}", "--ledger", "ledger", "--outcomes", "-",
            "--base-url", sandbox.url,
        )
        try:
            until_true = time.monotonic() + 30
            while b"sender outbox create" not in (told := consumer.get("/readyz")[1]):
                assert time.monotonic() < until_true, (told, consumer.told)
                await asyncio.sleep(0.1)
            await outbox.client.execute(create(table, 0))
            await enqueue(outbox.client, email(1), table=str(table))
            while await outbox.client.fetchval(f"SELECT count(*) FROM {table}"):
                assert time.monotonic() < until_true, consumer.told
                await asyncio.sleep(0.1)
            assert sandbox.numbers() == [1], "and where no days are kept the row is gone"
            assert await asyncio.to_thread(consumer.end) == 0
        finally:
            consumer.kill()


async def until(outbox: Outbox, rows: list[int], consumer: Consumer, *expected: str) -> list[Any]:
    ends = time.monotonic() + 30
    while True:
        found = await outbox.client.fetch(f"SELECT * FROM {outbox.table} WHERE id = ANY($1) ORDER BY id", rows)
        if tuple(row["status"] for row in found) == expected:
            return list(found)
        assert time.monotonic() < ends, ([row["status"] for row in found], consumer.told[-2000:])
        await asyncio.sleep(0.1)
