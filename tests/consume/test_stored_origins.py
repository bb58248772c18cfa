"""Two servers whose queues have one name are noticed under one memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from sender.consume.stored_origins import LIVES, NOTE, StoredOrigins
from sender.queues import QueueError
from tests.support.memory_ledger import MemoryLedger
from tests.support.processes import email
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fleet import Fleet

NAME = "redis/0/jobs"


async def test_the_same_server_may_be_claimed_by_all_and_another_by_none() -> None:
    ledger = MemoryLedger()
    one, other = StoredOrigins(ledger), StoredOrigins(ledger)
    await one.claim(NAME, "a")
    await other.claim(NAME, "a")
    with pytest.raises(QueueError, match=r"redis/0/jobs of another server .*&name="):
        await other.claim(NAME, "b")
    await other.claim("redis@b/0/jobs", "b")


async def test_a_server_that_was_made_anew_behind_the_same_url_is_no_second_one() -> None:
    origins = StoredOrigins(MemoryLedger())
    await origins.claim(NAME, "a")
    await origins.claim(NAME, "b", instead_of="a")
    with pytest.raises(QueueError):
        await origins.claim(NAME, "a")


async def test_one_that_nobody_reads_any_more_gives_its_name_up() -> None:
    ledger = MemoryLedger()
    origins = StoredOrigins(ledger)
    await origins.claim(NAME, "a")
    note = orjson.loads(await ledger.get_note(NOTE + NAME) or b"")
    await ledger.put_note(NOTE + NAME, orjson.dumps({**note, "seen": note["seen"] - LIVES - 1}))
    await origins.claim(NAME, "b")


def test_a_second_server_with_the_same_stream_is_refused_until_it_has_a_name(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second = RedisServer(folder).start()
    try:
        fleet.put(email(1))
        fleet.start("--prefetch", "5")
        fleet.until_sent(1)
        url = f"{second.url}?stream=jobs&group=senders"
        second.do("XADD", "jobs", "*", "job", orjson.dumps(email(2)))
        clash = fleet.start(urls=[url])
        fleet.until(lambda: "of another server is read with this memory" in clash.told)
        assert not clash.ready
        assert fleet.arrived == 1
        assert clash.end() == 0
        fleet.start(urls=[f"{url}&name=second"])
        fleet.until_sent(2)
        fleet.end_all()
    finally:
        second.stop()
