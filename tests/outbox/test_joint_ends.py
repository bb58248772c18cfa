"""Queue and state in one database: the end of a job and the end of its message are one transaction."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.consume.in_flight import InFlight, UnackedMessage
from sender.consume.joint_ends import JointEnds
from sender.errors import StateLost
from sender.outbox import enqueue
from sender.outbox.schema import create
from sender.queues.queue_url import open_queue
from sender.shared_state.state_url import open_state
from tests.outbox.conftest import Outbox
from tests.support.ledgers import final, handed
from tests.support.outbox_fleet import OutboxFleet
from tests.support.processes import email

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


TRANSACTIONS = """
SELECT o.xmin::text AS message, j.xmin::text AS job FROM {} o JOIN sender.jobs j ON j.result = o.delivery_id
WHERE o.status = 'sent' ORDER BY o.id
"""


@asynccontextmanager
async def consumer(outbox: Outbox) -> AsyncIterator[tuple[Any, Any, InFlight]]:
    """A queue, a state in the same database, and what is in hand."""
    queue: Any = open_queue(outbox.url)
    await queue.open()
    state = await open_state(outbox.server.url, host="api", workspace=outbox.table.name)
    in_flight = InFlight()
    assert state.database is not None
    state.end_together(JointEnds(in_flight, state.database).of)
    try:
        yield queue, state.ledger, in_flight
    finally:
        await state.close()
        await queue.aclose()


async def take(
    outbox: Outbox, queue: Any, ledger: Any, in_flight: InFlight, count: int = 1, *, first: int = 0
) -> list[Any]:
    """Jobs that are handed over, known by their ids."""
    for number in range(first, first + count):
        await enqueue(outbox.client, email(number), table=str(outbox.table))
    messages: list[Any] = []
    while len(messages) < count:
        messages += await queue.read(count)
    for message in messages:
        in_flight.add(json.loads(message.data)["id"], UnackedMessage(queue, message, 0.0))
    await ledger.hand_over([handed(json.loads(message.data)["id"]) for message in messages])
    return messages


async def is_open(outbox: Outbox) -> int:
    return int(await outbox.client.fetchval(f"SELECT count(*) FROM {outbox.table} WHERE slot = 0"))


async def test_the_end_of_a_job_and_of_its_message_are_one_transaction(outbox: Outbox) -> None:
    async with consumer(outbox) as (queue, ledger, in_flight):
        messages = await take(outbox, queue, ledger, in_flight, 3)
        await ledger.finish([final("job-0", result="d0"), final("job-1", result="d1"), final("job-2", "failed")])
        rows = await outbox.client.fetch(TRANSACTIONS.format(outbox.table))
        assert len(rows) == 2
        assert {row["message"] for row in rows} == {row["job"] for row in rows} == {rows[0]["job"]}
        assert [message.gone for message in messages] == [True, True, False], "a failed one has a dead letter before"
        assert await is_open(outbox) == 1
        await queue.ack(messages)
        assert await is_open(outbox) == 0


@pytest.mark.parametrize("trouble", ["locked", "gone"])
async def test_an_end_is_durable_though_its_message_cannot_go_with_it(outbox: Outbox, trouble: str) -> None:
    async with consumer(outbox) as (queue, ledger, in_flight):
        (message,) = await take(outbox, queue, ledger, in_flight)
        holding = outbox.client.transaction()
        await holding.start()
        if trouble == "locked":
            await outbox.client.execute(f"SELECT FROM {outbox.table} WHERE slot = 0 FOR UPDATE")
        else:
            queue._table = outbox.table.part("other")
        with capture_logs() as logs:
            async with asyncio.timeout(20):
                await ledger.finish([final("job-0", result="d0")])
        await holding.rollback()
        assert await ledger.count() == {"sent": 1}
        assert not message.gone
        told = "messages do not go in the transaction of their end, but after it" in [line["event"] for line in logs]
        assert told == (trouble == "gone"), "only what does not pass is told"
        await queue.ack([message])
        assert await is_open(outbox) == 0


async def test_messages_of_two_outboxes_go_in_one_statement_and_a_lost_state_is_told_all_the_same(
    outbox: Outbox
) -> None:
    other = Outbox(outbox.server, outbox.table.part("more"), outbox.client)
    await outbox.client.execute(create(other.table, 0))
    async with consumer(outbox) as (queue, ledger, in_flight):
        second: Any = open_queue(other.url)
        await second.open()
        await take(outbox, queue, ledger, in_flight, 2)
        await take(other, second, ledger, in_flight, 3, first=2)
        await ledger.finish([final(f"job-{number}", result=f"d{number}") for number in range(4)])
        assert [await is_open(outbox), await is_open(other)] == [0, 1]
        assert await ledger.count() == {"sent": 4, "handed_over": 1}
        await outbox.client.execute("DELETE FROM sender.workspaces WHERE name = $1", outbox.table.name)
        with pytest.raises(StateLost):
            await ledger.finish([final("job-4", result="d4")])
        assert await is_open(other) == 1, "its end is not durable"
        await second.aclose()


def test_a_consumer_ends_both_at_once(tmp_path: Path) -> None:
    with OutboxFleet(tmp_path, state="postgres") as fleet:
        fleet.write_orders(0, 30)
        fleet.start()
        fleet.until(lambda: fleet.arrived and not fleet.open)
        pairs = fleet.ask(TRANSACTIONS.format("sender_outbox")).splitlines()
        assert len(pairs) == fleet.arrived
        assert all(len(set(pair.split("|"))) == 1 for pair in pairs), pairs
        assert fleet.end_all() == [0]
