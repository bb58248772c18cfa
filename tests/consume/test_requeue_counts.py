from __future__ import annotations

import asyncio

from sender.consume.requeue_counts import MOST, NOTE, StoredRequeueCounts
from tests.support.memory_ledger import MemoryLedger


async def test_replicas_count_together() -> None:
    ledger = MemoryLedger()
    one, other = StoredRequeueCounts(ledger), StoredRequeueCounts(ledger)
    await asyncio.gather(*(kept.add(["a", "b"]) for kept in (one, other)), one.add(["a"]))
    assert await other.find(["a", "b", "c"]) == {"a": 3, "b": 2}
    await one.forget(["a", "unknown"])
    assert await other.find(["a", "b"]) == {"b": 2}


async def test_they_are_bounded_and_the_oldest_goes_first() -> None:
    ledger = MemoryLedger()
    kept = StoredRequeueCounts(ledger)
    await kept.add(["old", "again"])
    await kept.add([f"m{number}" for number in range(MOST - 1)])
    await kept.add(["again", "new"])
    found = await kept.find(["old", "again", "new", "m0"])
    assert found == {"again": 2, "new": 1}
    assert (await ledger.get_note(NOTE) or b"").count(b":") == MOST


async def test_what_was_never_given_back_costs_no_write() -> None:
    ledger = MemoryLedger()
    await StoredRequeueCounts(ledger).forget(["a"])
    assert await ledger.get_note(NOTE) is None
