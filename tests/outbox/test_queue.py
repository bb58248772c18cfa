"""An outbox as a queue: what it does beyond what every queue promises (tests/queues/test_contract.py)."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.outbox import enqueue
from sender.outbox.outbox_table import OutboxTable
from sender.outbox.schema import VERSION, Roles, create
from sender.outbox.statements import slot_of
from sender.queues import Ending, QueueError, QueueLost, postgres, refused_rows
from sender.queues.postgres_server import storable_json
from sender.queues.queue_url import open_letters, open_queue
from sender.queues.read_order import TURN, ReadOrder
from tests.support.messages import read
from tests.support.processes import email
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.outbox.conftest import Outbox


@pytest.fixture
async def queue(outbox: Outbox) -> AsyncIterator[Any]:
    queue: Any = open_queue(outbox.url, return_after=20.0)
    await queue.open()
    yield queue
    await queue.aclose()


async def put(outbox: Outbox, *numbers: int, **more: Any) -> list[int]:
    return [await enqueue(outbox.client, email(n), table=str(outbox.table), **more) for n in numbers]


async def ids(queue: Any, most: int = 100) -> list[str]:
    return [json.loads(one.data)["id"] for one in await queue.read(most)]


async def test_a_commit_wakes_a_reader_at_once(outbox: Outbox, queue: Any) -> None:
    waits = []
    for number in range(5):
        reading = asyncio.create_task(queue.read(10))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await put(outbox, number)
        assert len(await reading) == 1
        waits.append(time.monotonic() - begun)
    assert min(waits) < 0.05, "not by the look of every second"


async def test_high_goes_first_and_nothing_before_its_time(outbox: Outbox, queue: Any) -> None:
    await put(outbox, 1)
    await put(outbox, 2, priority="low")
    await put(outbox, 3, priority="high")
    await put(outbox, 4, priority="high", not_before=datetime.now(UTC) + timedelta(seconds=2))
    await put(outbox, 5, not_before=datetime.now(UTC) - timedelta(hours=1))
    assert await ids(queue) == ["job-3", "job-5", "job-1", "job-2"]
    (late,) = await read(queue, 1)
    assert json.loads(late.data)["id"] == "job-4"


def test_no_priority_waits_for_ever() -> None:
    order = ReadOrder()
    first = [order.next()[0] for _ in range(TURN * 10)]
    assert (first.count("low"), first.count("normal")) == (10, 10)


async def test_low_ones_are_read_beside_ever_more_high_ones(outbox: Outbox, queue: Any) -> None:
    await put(outbox, 0, priority="low")
    for number in range(1, TURN + 2):
        await put(outbox, number, priority="high")
        if "job-0" in await ids(queue, 1):
            return
    pytest.fail("the low one was never read")


async def test_what_became_of_a_job_stands_beside_it(outbox: Outbox, queue: Any) -> None:
    sent, refused = await put(outbox, 1, 2)
    one, other = await queue.read(10)
    one.ending = Ending("sent", "dlv-1", None, "k1")
    other.ending = Ending("rejected", None, {"code": "api_error", "message": "no"}, "k2")
    await queue.ack([one, other])
    rows = await outbox.client.fetch(f"SELECT * FROM {outbox.table} ORDER BY id")
    assert [row["id"] for row in rows] == [sent, refused]
    assert [(row["status"], row["delivery_id"]) for row in rows] == [("sent", "dlv-1"), ("rejected", None)]
    assert json.loads(rows[1]["error"])["code"] == "api_error"
    assert json.loads(rows[0]["job"]) == email(1)
    slot = slot_of(int(time.time()) // 86400, 4)
    assert {row["slot"] for row in rows} <= {slot, slot_of(int(time.time() - 3600) // 86400, 4)}
    assert await outbox.client.fetchval(f"SELECT count(*) FROM {outbox.table}_open") == 0


@pytest.mark.parametrize("mark", ["x-sender-redrive", "x-sender-retry"])
async def test_a_job_that_is_redriven_or_retried_mends_the_row_that_it_was(
    outbox: Outbox, queue: Any, mark: str
) -> None:
    """The shop showed `failed` for ever."""
    await put(outbox, 1)
    (message,) = await queue.read(10)
    message.ending = Ending("failed", None, {"code": "x"}, "k1")
    await queue.ack([message])
    await outbox.client.execute(
        f"INSERT INTO {outbox.table} (job, headers) VALUES ('{{}}', '{{\"{mark}\": \"1\"}}')"
    )
    (again,) = await read(queue, 1)
    again.ending = Ending("sent", "dlv-2", None, "k1")
    await queue.ack([again])
    rows = await outbox.client.fetch(f"SELECT status, delivery_id, error FROM {outbox.table} ORDER BY id")
    assert [tuple(row) for row in rows] == [("sent", "dlv-2", None), ("sent", "dlv-2", None)]


async def test_what_is_settled_later_is_written_though_the_server_was_away(outbox: Outbox, queue: Any) -> None:
    await put(outbox, 1)
    (message,) = await queue.read(10)
    message.ending = Ending("in_doubt", None, {"code": "unanswered"}, "k1")
    await queue.ack([message])
    with pytest.MonkeyPatch.context() as patch:
        async def away(client: Any) -> None:
            raise QueueLost("away")

        patch.setattr(queue, "_flush", away)
        await queue.amend(Ending("sent", "dlv-3", None, "k1"))
    await queue.read(1)
    row = await outbox.client.fetchrow(f"SELECT status, delivery_id, error, key FROM {outbox.table}")
    assert tuple(row) == ("sent", "dlv-3", None, None)


async def test_keeping_costs_one_row_however_many_are_in_hand(outbox: Outbox, queue: Any) -> None:
    await put(outbox, *range(20))
    held = await queue.read(100)
    before = await outbox.client.fetch(f"SELECT xmin, ctid FROM {outbox.table} ORDER BY id")
    for _ in range(3):
        await queue.keep(held)
    assert await outbox.client.fetch(f"SELECT xmin, ctid FROM {outbox.table} ORDER BY id") == before


async def test_what_a_broken_connection_took_without_our_knowing_is_free_again(outbox: Outbox, queue: Any) -> None:
    await put(outbox, 1, 2)
    (held,) = await queue.read(1)
    reader = await outbox.client.fetchval(f"SELECT holder FROM {outbox.table} WHERE holder IS NOT NULL")
    await outbox.client.execute(
        f"UPDATE {outbox.table} SET holder = $1, deliveries = 1, taken_at = now() WHERE holder IS NULL", reader
    )
    await outbox.client.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sender' AND query LIKE $1",
        f"%{outbox.table.name}%",
    )
    (other,) = await read(queue, 1)
    assert (other.deliveries, json.loads(other.data)["id"]) == (1, "job-2")
    await queue.requeue([held])
    assert [one.id for one in await read(queue, 1)] == [held.id], "it was still its own to give back"


async def test_the_day_that_is_over_is_emptied_and_no_other(outbox: Outbox) -> None:
    now = time.time()
    today = int(now) // 86400
    for back in range(4):
        slot = slot_of(today - back, 4)
        await outbox.client.execute(
            f"INSERT INTO {outbox.table} (slot, job, status, done_at) VALUES ($1, '{{}}', 'sent', to_timestamp($2))",
            slot, now - back * 86400,
        )
    queue = open_queue(outbox.url)
    await queue.read(1)
    await queue.aclose()
    left = {row[0] for row in await outbox.client.fetch(f"SELECT slot FROM {outbox.table}")}
    assert left == {slot_of(today - back, 4) for back in range(3)}, "two days and today"


async def test_a_partition_that_holds_what_is_to_be_kept_is_never_emptied(outbox: Outbox) -> None:
    """Whatever the clock of a replica says."""
    slot = slot_of(int(time.time()) // 86400 + 1, 4)
    await outbox.client.execute(
        f"INSERT INTO {outbox.table} (slot, job, done_at) VALUES ($1, '{{}}', now() - interval '1 day')", slot
    )
    queue = open_queue(outbox.url)
    await queue.read(1)
    await queue.aclose()
    assert await outbox.client.fetchval(f"SELECT count(*) FROM {outbox.table}") == 1


async def test_of_several_hosts_the_one_that_answers_is_used(outbox: Outbox, tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("*:*:*:*:s3cret\n")
    (tmp_path / "pass").chmod(0o600)
    await put(outbox, 1)
    where = f"127.0.0.1:{free_port()},127.0.0.1:{outbox.server.port}"
    more = f"table={outbox.table}&passfile={tmp_path}/pass&priority=high"
    queue = open_queue(f"postgresql://tester@{where}/postgres?{more}")
    (message,) = await read(queue, 1)
    assert message.priority == "high"
    assert message.identity is not None
    assert message.identity.startswith(f"postgres/postgres/{outbox.table}/")
    await queue.aclose()


async def test_who_is_not_let_in_is_told_without_the_password(outbox: Outbox) -> None:
    queue = open_queue(f"postgres://nobody:s3cret@127.0.0.1:{outbox.server.port}/postgres?table={outbox.table}")
    with pytest.raises(QueueError, match="nobody") as caught:
        await queue.open()
    assert "s3cret" not in str(caught.value)
    assert not isinstance(caught.value, QueueLost), "waiting does not mend it"
    await queue.aclose()


async def test_a_schema_may_stand_before_the_table(outbox: Outbox) -> None:
    await outbox.client.execute(f"CREATE SCHEMA s_{outbox.table}")
    table = OutboxTable.named(f"s_{outbox.table}.mail")
    await outbox.client.execute(create(table, 1))
    row = await enqueue(outbox.client, email(1), table=str(table))
    queue: Any = open_queue(f"{outbox.server.url}?table={table}")
    reading = asyncio.create_task(queue.read(1))
    (message,) = await reading
    assert message.identity.startswith(f"postgres/postgres/s_{outbox.table}.mail/")
    message.ending = Ending("sent", "dlv", None, None)
    await queue.ack([message])
    assert await outbox.client.fetchval(f"SELECT delivery_id FROM {table} WHERE id = $1", row) == "dlv"
    begun = time.monotonic()
    reading = asyncio.create_task(queue.read(1))
    await asyncio.sleep(0.1)
    await enqueue(outbox.client, email(2), table=str(table))
    assert len(await reading) == 1
    assert time.monotonic() - begun < 0.6, "its channel has the schema, too"
    await queue.aclose()


async def test_rows_that_somebody_changes_while_they_are_in_hand_stop_nobody(outbox: Outbox, queue: Any) -> None:
    rows = await put(outbox, *range(5))
    held = await queue.read(10)
    assert len(held) == 5
    await outbox.client.execute(f"DELETE FROM {outbox.table} WHERE id = $1", rows[0])
    await outbox.client.execute(f"UPDATE {outbox.table} SET job = '7' WHERE id = $1", rows[1])
    await outbox.client.execute(f"UPDATE {outbox.table} SET holder = NULL WHERE id = $1", rows[2])
    await outbox.client.execute(f"UPDATE {outbox.table} SET slot = 1, done_at = now() WHERE id = $1", rows[3])
    for one in held:
        one.ending = Ending("sent", f"dlv-{one.handle}", None, None)
    await queue.ack(held)
    found = await outbox.client.fetch(f"SELECT id, status, delivery_id FROM {outbox.table} WHERE slot <> 1 ORDER BY id")
    ended = [tuple(row) for row in found if row["id"] != rows[3]]
    assert ended == [(row, "sent", f"dlv-{row}") for row in (rows[1], rows[2], rows[4])]
    assert await queue.lag() == 0


async def test_what_is_taken_back_while_it_waits_is_never_read(outbox: Outbox, queue: Any) -> None:
    """The statement of docs/outbox.md."""
    taken, waiting = await put(outbox, 1, 2, not_before=datetime.now(UTC) - timedelta(hours=1))
    (held,) = await queue.read(1)
    back = "DELETE FROM {} WHERE id = $1 AND slot = 0 AND holder IS NULL"
    told = [await outbox.client.execute(back.format(outbox.table), row) for row in (taken, waiting)]
    assert (held.handle, told) == (taken, ["DELETE 0", "DELETE 1"])
    assert await queue.lag() == 1


async def test_a_table_that_is_made_anew_is_read_as_it_is_now(outbox: Outbox, queue: Any) -> None:
    """Its consumer went on writing to the partitions of the old one."""
    await outbox.client.execute(f"DROP TABLE {outbox.table}, {outbox.table}_readers CASCADE")
    with pytest.raises(QueueLost):
        await queue.read(1)
    with pytest.raises(QueueError, match=f"there is no table {outbox.table}; sender outbox create makes it"):
        await queue.read(1)
    await outbox.client.execute(f"DROP FUNCTION {outbox.table}_notify()")
    await outbox.client.execute(create(outbox.table, 0))
    await put(outbox, 1)
    (message,) = await read(queue, 1)
    message.ending = Ending("sent", "dlv", None, None)
    await queue.ack([message])
    assert await outbox.client.fetchval(f"SELECT count(*) FROM {outbox.table}") == 0


async def test_without_a_notification_a_job_is_found_by_a_look(outbox: Outbox, queue: Any) -> None:
    await outbox.client.execute(f"ALTER TABLE {outbox.table} DISABLE TRIGGER {outbox.table}_notify")
    reading = asyncio.create_task(read(queue, 1))
    await asyncio.sleep(0.1)
    await put(outbox, 1)
    assert len(await reading) == 1


async def test_names_may_be_as_long_as_they_are_allowed(outbox: Outbox) -> None:
    """The shop's own transaction failed: its schema and table were more than a channel's name holds."""
    schema = f"{'s' * 30}_{outbox.table.name[-8:]}"
    await outbox.client.execute(f"CREATE SCHEMA {schema}")
    table = OutboxTable.named(f"{schema}.{'t' * 40}")
    await outbox.client.execute(create(table, 1))
    await enqueue(outbox.client, email(1), table=str(table))


async def test_letters_that_somebody_wrote_by_hand_are_listed(outbox: Outbox) -> None:
    await outbox.client.execute(
        f"INSERT INTO {outbox.table} (job, headers, reason) VALUES ('1', '7', '[]'), ('2', '[1]', '7'), "
        "('3', NULL, NULL)"
    )
    letters = open_letters(outbox.url)
    await letters.open()
    assert [(one.data, one.identity, one.status) for one in await letters.read()] == [
        (data, None, "unknown") for data in (b"1", b"2", b"3")]
    await letters.aclose()


@pytest.mark.parametrize(("comment", "says"), [
    (f"sender outbox, version {VERSION + 1}", "a later sender"), ("my own", "is no outbox"), (None, "is no outbox"),
])
async def test_another_table_is_not_read(outbox: Outbox, comment: str | None, says: str) -> None:
    await outbox.client.execute(f"COMMENT ON TABLE {outbox.table} IS {'NULL' if comment is None else repr(comment)}")
    queue = open_queue(outbox.url)
    with pytest.raises(QueueError, match=says):
        await queue.open()
    await queue.aclose()


async def test_no_table_is_told_with_the_way_to_one(outbox: Outbox) -> None:
    queue = open_queue(f"{outbox.server.url}?table=nothing_here")
    with pytest.raises(QueueError, match="there is no table nothing_here; sender outbox create makes it"):
        await queue.open()
    await queue.aclose()


async def test_a_strange_row_stops_nobody(outbox: Outbox, queue: Any) -> None:
    """Times that never come, and headers that are none."""
    await outbox.client.execute(
        f"INSERT INTO {outbox.table} (job, expires_at, enqueued_at, headers) VALUES "
        "('1', 'infinity', 'infinity', '[]'), ('2', '-infinity', '-infinity', '7'), ('3', NULL, now(), '{{\"a\": 1}}')"
        .replace("{{", "{").replace("}}", "}")
    )
    found = {one.data: one for one in await queue.read(10)}
    assert [found[data].expires_at for data in (b"1", b"2", b"3")] == [None, 0.0, None]


async def test_an_error_tells_nothing_of_a_row(outbox: Outbox, queue: Any) -> None:
    """PostgreSQL shows the failing row in the details of its error."""
    await put(outbox, 1)
    (message,) = await queue.read(1)
    await outbox.client.execute(f"ALTER TABLE {outbox.table} ADD CONSTRAINT no_end CHECK (status = 'waiting')")
    with pytest.raises(QueueError, match="no_end") as caught:
        await queue.ack([message])
    assert "example.com" not in str(caught.value)
    await outbox.client.execute(f"ALTER TABLE {outbox.table} DROP CONSTRAINT no_end")
    await queue.ack([message])
    assert await outbox.client.fetchval(f"SELECT status FROM {outbox.table}") == "acknowledged"


@pytest.mark.parametrize("schema", ["", "own_"])
async def test_who_may_do_what(outbox: Outbox, schema: str) -> None:
    """A consumer and an application with the rights that `create` gives them, and no others; they did not see a table
    in a schema of its own."""
    table, shop, reader = OutboxTable.named(f"{outbox.table}_r"), f"shop_{outbox.table}", f"reader_{outbox.table}"
    if schema:
        table = table._replace(schema=f"{schema}{outbox.table}")
        await outbox.client.execute(f"CREATE SCHEMA {table.schema}")
    for role in (shop, reader):
        await outbox.client.execute(f"CREATE ROLE {role} LOGIN")
    await outbox.client.execute(create(table, 2, Roles(shop, reader)))
    application = await asyncpg.connect(outbox.server.url, user=shop)
    try:
        row = await enqueue(application, email(1), table=str(table))
        for refused in (f"DELETE FROM {table}", f"UPDATE {table} SET job = '1'", f"TRUNCATE {table}",
                        f"INSERT INTO {table} (job, status) VALUES ('1', 'sent')"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await application.execute(refused)
        queue: Any = open_queue(outbox.server.url.replace("tester@", f"{reader}@") + f"?table={table}")
        (message,) = await read(queue, 1)
        await queue.keep([message])
        await queue.requeue([message])
        (message,) = await read(queue, 1)
        assert await queue.lag() == 1
        assert not await queue.left_since(60.0)
        message.ending = Ending("sent", "dlv", None, None)
        await queue.ack([message])
        slot = slot_of(int(time.time()) // 86400 + 1, 4)
        await outbox.client.execute(f"INSERT INTO {table} (slot, job, done_at) VALUES ({slot}, '1', '2020-01-01')")
        queue._upkeep_at = 0.0
        await queue.read(1)
        await queue.aclose()
        shown = await application.fetch(f"SELECT id, status, delivery_id FROM {table}")
        assert [tuple(one) for one in shown] == [(row, "sent", "dlv")]
    finally:
        await application.close()


async def test_what_no_column_holds_keeps_no_end_from_its_row(outbox: Outbox, queue: Any) -> None:
    """Else one answer of the API would keep all others of its batch, and then all reading."""
    await put(outbox, 1, 2)
    messages = await read(queue, 2)
    messages[0].ending = Ending("sent", "d\0one", None, "k1")
    messages[1].ending = Ending("rejected", None, {"code": "api_error", "message": "a\0b \\u0000"}, "k2")
    await queue.ack(messages)
    rows = await outbox.client.fetch(f"SELECT status, delivery_id, error ->> 'message' FROM {outbox.table} ORDER BY id")
    assert [tuple(row) for row in rows] == [("sent", "d\ufffdone", None), ("rejected", None, "a\ufffdb \\u0000")]


@given(st.text(st.sampled_from('\0\\u0a"é'), max_size=12))
def test_json_for_a_column_says_the_same_but_for_one_character(text: str) -> None:
    assert orjson.loads(storable_json(orjson.dumps(text).decode())) == text.replace("\0", "\ufffd")


async def test_a_row_that_cannot_be_taken_holds_nobody_up(outbox: Outbox, queue: Any) -> None:
    """A constraint of the application that one row would break stopped all reading."""
    rows = await put(outbox, *range(9))
    refused = f"id IN ({rows[0]}, {rows[4]}) AND holder IS NOT NULL"
    await outbox.client.execute(f"ALTER TABLE {outbox.table} ADD CHECK (NOT ({refused}))")
    assert {json.loads(one.data)["id"] for one in await read(queue, 7)} == {f"job-{n}" for n in (1, 2, 3, 5, 6, 7, 8)}
    assert list(await queue.read(10)) == []
    assert await queue.lag() == 9


async def test_where_no_row_can_be_taken_the_reader_says_why(outbox: Outbox, queue: Any) -> None:
    await put(outbox, *range(3))
    await outbox.client.execute(f"ALTER TABLE {outbox.table} ADD CHECK (holder IS NULL)")
    for most, told in ((100, False), (2, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(refused_rows, "MOST", most)
            if not told:
                assert list(await queue.read(10)) == []
                queue._refused = refused_rows.RefusedRows(queue.source)
                continue
            with pytest.raises(QueueError, match="CheckViolationError"):
                await queue.read(10)


async def test_an_end_that_cannot_be_written_holds_nobody_up(
    outbox: Outbox, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written as soon as the row bears it, and nobody else gets the row meanwhile."""
    rows = await put(outbox, *range(3))
    await outbox.client.execute(f"ALTER TABLE {outbox.table} ADD CONSTRAINT mine CHECK (id <> {rows[1]} OR slot = 0)")
    messages = await read(queue, 3)
    for message in messages:
        message.ending = Ending("sent", f"dlv-{message.handle}", None, None)
    with pytest.raises(QueueError, match="mine"):
        await queue.ack(messages)

    async def ended() -> set[int]:
        return {row["id"] for row in await outbox.client.fetch(f"SELECT id FROM {outbox.table} WHERE slot <> 0")}

    assert await ended() == {rows[0], rows[2]}
    await queue._connection.run(queue._join)
    assert list(await queue.read(10)) == []
    await outbox.client.execute(f"ALTER TABLE {outbox.table} DROP CONSTRAINT mine")
    monkeypatch.setattr(queue._refused, "_unended_until", 0.0)
    assert list(await queue.read(10)) == []
    assert await ended() == set(rows)


async def test_a_long_queue_is_counted_once_a_minute(
    outbox: Outbox, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million rows that waited cost the server half a second of work every five seconds, for each replica."""
    monkeypatch.setattr(postgres, "FEW", 3)
    await put(outbox, *range(5))
    assert await queue.lag() == 5
    await put(outbox, 5)
    assert await queue.lag() == 5
    queue._many = (float("-inf"), 0)
    assert await queue.lag() == 6
    await queue.ack(await read(queue, 6))
    assert await queue.lag() == 0
