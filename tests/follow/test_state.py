"""Following what replicas of a shared state send: the state is asked whose a delivery is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sender.follow.delivery_log import read_deliveries
from sender.follow.follow_run import follow_lists
from sender.follow.following import Following
from sender.follow.state_run import StateRun
from sender.follow.until import Until
from sender.sandbox.fates import OPEN
from tests.follow.test_follow_lists import BEGIN, Messages, listed, reader_of
from tests.follow.test_webhooks import _news

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.virtual_time import VirtualLoop


class Memory:
    """What a shared state knows."""

    born = float(BEGIN)

    def __init__(self, *numbers: int) -> None:
        self.results = {f"d{number}" for number in numbers}
        self.asked: list[str] = []

    async def known_results(self, results: Any) -> set[str]:
        self.asked += results
        return self.results & set(results)

    async def count(self) -> dict[str, int]:
        return {"sent": len(self.results), "in_doubt": 2}


def run_of(memory: Memory, folder: Path) -> StateRun:
    state: Any = SimpleNamespace(ledger=memory)
    return StateRun(state.ledger, folder / "fleet.deliveries.jsonl")


def test_lists_of_a_state(virtual: VirtualLoop, tmp_path: Path) -> None:
    memory = Memory(*range(0, 3_000, 2))
    api = Messages([listed(n, delivered=BEGIN + 2) for n in range(2_500)])

    async def body() -> None:
        run = run_of(memory, tmp_path)
        work = await Following.open([run])
        try:
            assert await follow_lists(work, reader_of(api), Until.parse("open<20%"), 60.0, 60.0)
            books = work.books.summary()
            assert (books["sent"], books["delivered"], books["open"]) == (1_500, 1_250, 250)
            assert work.books.check()
            api.entries += [listed(n, bounced=BEGIN + 3) for n in range(2_500, 3_000)]
            api.created += [one["created"] for one in api.entries[2_500:]]
            assert await follow_lists(work, reader_of(api), Until.parse("open<=0"), 60.0, 60.0)
            assert work.books.summary()["bounced"] == 250
        finally:
            await work.aclose()
        again = await Following.open([run])
        assert (again.books.sent, again.books.fates["delivered"], again.books.number(OPEN)) == (1_500, 1_250, 0)
        await again.aclose()

    virtual.run_until_complete(body())
    kinds = {line["kind"] for line in read_deliveries(tmp_path / "fleet.deliveries.jsonl")}
    assert kinds == {"email"}


def test_a_state_that_has_sent_nothing_yet_is_waited_for(virtual: VirtualLoop, tmp_path: Path) -> None:
    """Started before the first consumer, it ended at once, as if its rule held."""
    memory, api = Memory(), Messages([])

    async def send() -> None:
        await asyncio.sleep(120)
        api.entries.append(listed(0, delivered=BEGIN + 2))
        api.created.append(api.entries[0]["created"])
        memory.results.add("d0")

    async def body() -> None:
        work = await Following.open([run_of(memory, tmp_path)])
        sending = asyncio.create_task(send())
        assert not await follow_lists(work, reader_of(api), Until.parse("open<1%"), 60.0, 60.0)
        assert await follow_lists(work, reader_of(api), Until.parse("open<1%"), float("inf"), 60.0)
        assert work.books.summary()["delivered"] == 1
        await sending
        await work.aclose()

    virtual.run_until_complete(body())


async def test_webhooks_of_a_state(tmp_path: Path) -> None:
    memory = Memory(1, 2)
    work = await Following.open([run_of(memory, tmp_path)], waits=True)
    assert (work.books.sent, work.books.number(OPEN)) == (2, 2)
    await work.take_or_keep([_news(1), _news(7)])
    assert (work.books.fates["delivered"], work.books.number(OPEN)) == (1, 1)
    memory.results.add("d7")  # its end was recorded after the webhook came
    await work.read_on()
    assert work.books.fates["delivered"] == 2
    asked = len(memory.asked)
    await work.take_or_keep([_news(1), _news(7)])
    assert len(memory.asked) == asked, "what is known is not asked for again"
    await asyncio.sleep(0)
    await work.aclose()
    again = await Following.open([run_of(memory, tmp_path)], waits=True)
    assert again.books.fates["delivered"] == 2
    await again.aclose()
