"""Rows whose jobs ended while nobody could write it beside them: the memory knows what became of them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sender.consume.later_ends import LaterEnds
from sender.engine.job_execution import JobExecution, delivery_id_of
from sender.jobs.job import Line
from sender.jobs.problem import Problem
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.outbox import enqueue
from sender.outbox.statements import BY_INDEX, Statements
from sender.queues import Ending
from sender.queues.queue_url import open_queue
from sender.shared_state.state_url import open_state
from tests.consume.parts import parser
from tests.outbox.test_ends import until
from tests.support.fleet import Consumer
from tests.support.ledgers import final
from tests.support.processes import email, running_sandbox, sender

if TYPE_CHECKING:
    from pathlib import Path

    from sender.ledger import FinalRecord
    from tests.outbox.conftest import Outbox

REFUSED = Problem("api_error", "to", "no such person")
DEAD = """
WITH dead AS (INSERT INTO {0}_readers VALUES (gen_random_uuid(), now() - interval '1 s') RETURNING id)
UPDATE {0} SET holder = dead.id, deliveries = 1, taken_at = now() FROM dead
"""
"""As if all that waits had been in the hands of a reader that died."""


def end_of(number: int, status: Any, *problems: Problem, result: tuple[tuple[str, Any], ...] = ()) -> FinalRecord:
    """What a replica tells its memory of one of the jobs."""
    job = parser().parse(Line("queue", number, orjson.dumps(email(number)), None), 0.0)
    assert hasattr(job, "key"), job
    execution = JobExecution(job)
    execution.begin(time.time(), 0)
    return execution.entry(execution.outcome(status, *problems, result=result, finished_at=time.time()))


@pytest.mark.parametrize("memory", ["ledger", "state"])
async def test_rows_whose_ends_nobody_wrote_get_them_whole_and_a_settlement_by_hand_too(
    outbox: Outbox, tmp_path: Path, memory: str
) -> None:
    rows = [await enqueue(outbox.client, email(number), table=str(outbox.table)) for number in range(3)]
    await outbox.client.execute(DEAD.format(outbox.table))
    place = ("--ledger", "ledger") if memory == "ledger" else ("--state", f"{outbox.server.url}?schema={outbox.table}")
    with running_sandbox("--rate-send", "1000") as sandbox:
        await remember(place[1], tmp_path, sandbox.url.partition("//")[2], [
            end_of(0, "sent", result=(("delivery_id", "d0"),)), end_of(1, "rejected", REFUSED),
            end_of(2, "in_doubt", Problem("timeout", None, "no answer came")),
        ])
        options = (*place, "--base-url", sandbox.url)
        for expected in ("in_doubt", "sent"):
            consumer = Consumer(tmp_path, "consumer", outbox.url, *options, "--outcomes", "-", "--no-reconcile")
            try:
                found = await until(outbox, rows, consumer, "sent", "rejected", expected)
            finally:
                consumer.kill()
            if expected == "in_doubt":
                assert json.loads(found[2]["error"])["code"] == "timeout"
                settled = sender("reconcile", *options, "--settle", "sent", "job-2=d2", cwd=tmp_path)
                assert settled.returncode == 0, settled.stderr
        assert [row["delivery_id"] for row in found] == ["d0", None, "d2"]
        assert json.loads(found[1]["error"]) == {"code": "api_error", "field": "to", "message": "no such person"}
        assert found[2]["error"] is found[2]["key"] is None
        assert sandbox.numbers() == []


async def remember(place: str, folder: Path, host: str, ends: list[FinalRecord]) -> None:
    if place == "ledger":
        ledger = await SqliteLedger.open(folder / place, host)
        await ledger.finish(ends)
        await ledger.close()
    else:
        state = await open_state(place, host=host)
        await state.ledger.finish(ends)
        await state.close()


async def test_what_is_settled_elsewhere_while_a_consumer_runs_is_written_beside_it(outbox: Outbox) -> None:
    for number in range(7):
        await enqueue(outbox.client, email(number), table=str(outbox.table))
    queue: Any = open_queue(outbox.url)
    await queue.open()
    state = await open_state(f"{outbox.server.url}?schema={outbox.table}", host="api")
    try:
        messages = list(await queue.read(10))
        for number, message in enumerate(messages):
            message.ending = Ending("in_doubt", None, {"code": "timeout"}, f"key-{number}")
        await queue.ack(messages)
        error = {"code": "absent", "message": "the API shows none"}
        await state.ledger.finish([
            final("key-0", "in_doubt", detail=b"{}"), final("key-1", result="d1"), final("key-2", result="7/12"),
            final("key-3", "failed", detail=orjson.dumps({"error": error})), final("key-4"), final("key-5", "rejected"),
        ])
        later = LaterEnds(state.ledger, [queue], page=2)
        await later.look()
        found = await outbox.client.fetch(f"SELECT status, delivery_id, error FROM {outbox.table} ORDER BY id")
        assert [(row["status"], row["delivery_id"]) for row in found] == [
            ("in_doubt", None), ("sent", "d1"), ("sent", None), ("failed", None), ("sent", None), ("rejected", None),
            ("in_doubt", None),
        ]
        assert json.loads(found[3]["error"]) == error
        assert await queue.in_doubt("", 10) == ["key-0", "key-6"], "the one is in doubt, nothing is known of the other"
    finally:
        await state.close()
        await queue.aclose()


async def test_rows_in_doubt_are_found_without_reading_all_that_were_sent(outbox: Outbox) -> None:
    """Else a replica would read days of receipts twice a minute."""
    await outbox.client.execute(
        f"INSERT INTO {outbox.table}_done_1 (id, slot, job, status, key) OVERRIDING SYSTEM VALUE "
        "SELECT n, 1, '{}', CASE WHEN n % 100 > 0 THEN 'sent' ELSE 'in_doubt' END, "
        "CASE WHEN n % 100 = 0 THEN 'k' || n END FROM generate_series(1, 3000) n"
    )
    async with outbox.client.transaction():
        await outbox.client.execute(BY_INDEX)
        sql = f"EXPLAIN (ANALYZE, TIMING off) {Statements.of(outbox.table).in_doubt}"
        plan = "\n".join(row[0] for row in await outbox.client.fetch(sql, "", 500))
    assert "Seq Scan" not in plan, plan
    assert "Rows Removed by Filter" not in plan, plan


async def test_a_queue_that_is_away_is_told_later() -> None:
    queue: Any = open_queue("postgres://tester@127.0.0.1:1/none")
    ledger: Any = None
    await LaterEnds(ledger, [queue]).look()


@pytest.mark.parametrize(("result", "expected"), [
    (None, None), ("d1", "d1"), ("7/12", None), ("dgOq/w7", "dgOq/w7"), ("12", "12"),
])
def test_a_trigger_is_no_delivery(result: str | None, expected: str | None) -> None:
    assert delivery_id_of(result) == expected
