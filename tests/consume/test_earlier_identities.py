"""A memory that an earlier version wrote is recognised, or refused by name; never silently forgotten."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sender.consume.earlier_identities import FORMAT, NOTE, find_earlier
from sender.consume.in_flight import UnackedMessage
from sender.errors import UsageError
from sender.jobs.identity import key_of_content, key_of_id, key_of_message
from sender.jobs.job import Job, Line
from sender.ledger import FinalRecord
from sender.queues import Message
from sender.shared_state.state_url import open_state
from tests.consume.parts import parser
from tests.support.memory_ledger import MemoryLedger
from tests.support.processes import email

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

URL = "redis://***@h:6379/0?stream=jobs&group=senders"


def arrived(message_id: str = "5-1", identity: str | None = "redis/0/jobs/5-1") -> tuple[Job, UnackedMessage]:
    body = json.dumps({name: value for name, value in email(1).items() if name != "id"}).encode()
    line = Line("queue", 1, body, None, (message_id, identity) if identity else None)
    job = parser().parse(line, 0.0)
    assert isinstance(job, Job)
    message = Message(source=URL, id=message_id, data=body, deliveries=1, handle=None, identity=identity)
    queue: Any = None
    return job, UnackedMessage(queue, message, 0.0)


async def earlier_ledger(key: str) -> MemoryLedger:
    ledger = MemoryLedger()
    await ledger.finish([FinalRecord(key, "", "sent", b"{}\n")])
    return ledger


@pytest.mark.parametrize("identity", ["redis/0/jobs/5-1", None])
async def test_what_the_last_version_sent_is_known(identity: str | None) -> None:
    job, message = arrived(identity=identity)
    assert job.key == (key_of_message(None, identity) if identity else key_of_content(None, job.content))
    before = key_of_id(None, f"{URL}\n5-1")
    ledger = await earlier_ledger(before)
    earlier = await find_earlier(ledger, [URL.replace("***", "user:secret") + "&trim=never"], 3600)
    assert earlier.of(job, message) == [before]
    found = await ledger.find([job.key, *earlier.of(job, message)])
    assert earlier.known_as(job, message, found).key == before
    assert earlier.known_as(job, message, {}).key == job.key


async def test_a_url_that_changes_later_does_not_lose_it() -> None:
    job, message = arrived()
    ledger = await earlier_ledger(key_of_id(None, f"{URL}\n5-1"))
    await find_earlier(ledger, [URL], 3600)
    moved = await find_earlier(ledger, [URL.replace("h:6379", "new:6379")], 3600)
    assert key_of_id(None, f"{URL}\n5-1") in moved.of(job, message)


async def test_a_new_memory_and_a_job_with_an_id_cost_no_look() -> None:
    job, message = arrived()
    assert (await find_earlier(MemoryLedger(), [URL], 3600)).of(job, message) == []
    earlier = await find_earlier(await earlier_ledger("x"), [URL], 3600)
    named = parser().parse(Line("queue", 1, json.dumps(email(1)).encode(), None, ("5-1", "redis/0/jobs/5-1")), 0.0)
    assert isinstance(named, Job)
    assert earlier.of(named, message) == []


async def test_it_ends_when_the_memory_has_forgotten_them_but_not_before_its_doubts() -> None:
    for state, left in (("sent", 0), ("in_doubt", 1)):
        ledger = MemoryLedger()
        await ledger.finish([FinalRecord("x", "", state, b"{}\n")])  # type: ignore[arg-type]
        note = {"format": FORMAT, "until": time.time() - 1, "sources": [URL]}
        await ledger.put_note(NOTE, orjson.dumps(note))
        assert len((await find_earlier(ledger, [URL], 3600)).of(*arrived())) == left


async def test_a_later_versions_memory_is_refused_by_name() -> None:
    ledger = MemoryLedger()
    await ledger.put_note(NOTE, orjson.dumps({"format": FORMAT + 1, "until": 0.0, "sources": []}))
    with pytest.raises(UsageError, match=r"later version .* format 3"):
        await find_earlier(ledger, [URL], 3600)


async def test_a_fleet_goes_on_with_the_state_of_the_version_before(fleet: Fleet) -> None:
    job = {name: value for name, value in email(1).items() if name != "id"}
    first, _ = fleet.put(job, {**job, "payload": {**job["payload"], "to": "b@example.com"}})
    state = await open_state(fleet.state_url, host=fleet.sandbox.url.partition("//")[2])
    key = key_of_id(None, f"{fleet.url()}\n{first.decode()}")
    await state.ledger.finish([FinalRecord(key, "", "sent", b'{"id": "earlier", "status": "sent"}\n')])
    await state.close()
    consumer = fleet.start("--log-level", "outcome")
    fleet.until(lambda: fleet.open == 0)
    assert consumer.end() == 0
    assert fleet.arrived == 1
    assert [line["status"] for line in consumer.outcomes if line["id"] == first.decode()] == ["duplicate"]
