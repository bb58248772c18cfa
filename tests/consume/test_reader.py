"""A reader with fakes for its queue and its workspaces."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import sender.consume.reader as reader_module
from sender.config.settings import Settings
from sender.consume.acknowledger import Acknowledger
from sender.consume.in_flight import InFlight
from sender.consume.message_parser import MessageParser
from sender.consume.reader import Reader
from sender.queues import QueueLost
from sender.runtime.conditions import Conditions
from sender.runtime.supervisor import Supervisor
from sender.runtime.tasks import end
from tests.consume.parts import LINE, REST, FakeQueue, job, message, parser, unacked, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.consume.in_flight import UnackedMessage
    from sender.jobs.job import Job, Line
    from sender.outcomes.outcome import Outcome
    from tests.support.virtual_time import VirtualLoop


class FakeWorkspace:
    def __init__(self, room: int = 1000) -> None:
        self.in_flight = InFlight()
        self.acknowledger = Acknowledger(self.in_flight, None, Supervisor())
        self.works = True
        self.left = room
        self.taken: list[Job] = []
        self.refused: list[Outcome] = []

    async def compare(self, queue: Any) -> None: ...

    def places(self, lane: str, priority: str) -> tuple[int, int]:
        return (self.left, 1000) if self.works else (0, 0)

    def refuse(self, held: UnackedMessage, outcome: Outcome) -> None:
        self.in_flight.add(held.message.id, held)
        self.refused.append(outcome)

    async def take_on(self, arrived: list[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        if not self.works:
            return [held for _, held in arrived]
        for found, held in arrived:
            self.taken.append(found)
            self.in_flight.add(found.key, held)
        return []

    def requeue(self, keys: Sequence[str]) -> None:
        self.acknowledger.requeue(self.in_flight.requeue(keys))


def make(queue: Any, **more: Any) -> tuple[Reader, FakeWorkspace]:
    workspace = FakeWorkspace()
    consumers: Any = {None: workspace, **more}
    return Reader(queue, consumers, MessageParser(parser(), Settings()), 20, Conditions()), workspace


async def test_it_holds_no_more_than_it_may_and_keeps_all_of_it() -> None:
    """What only waits for its dead letter or its ack was not kept, and came again."""
    queue = FakeQueue(messages=[message(number) for number in range(50)])
    reader, workspace = make(queue)
    running = [asyncio.create_task(reader.run()), asyncio.create_task(reader.keep())]
    await until(lambda: len(workspace.taken) == 20)
    for held in workspace.in_flight.recorded(job(0).key):
        workspace.acknowledger.ack(held)  # nobody runs it
    await asyncio.sleep(0.1)
    assert len(workspace.taken) == 20
    queue.kept.clear()
    await until(lambda: "m0" in queue.kept)
    reader.stop()
    running[1].cancel()
    await running[0]


def test_a_keep_that_the_broker_did_not_hear_is_said_again_soon(virtual: VirtualLoop) -> None:
    """A cut of 12 s swallowed one keep, the next came after 27 s, and all in hand was given to others after 25."""

    async def run() -> list[float]:
        queue: Any = FakeQueue()
        queue.keep_every = 25 / 3
        reader, workspace = make(queue)
        workspace.in_flight.add("one", unacked(queue, 1))
        loop, told = asyncio.get_running_loop(), []

        async def keep(messages: Any) -> None:
            told.append(loop.time())
            if queue.alive and len(told) == 2:
                queue.alive = False
                await asyncio.sleep(10)
            else:
                queue.alive = True

        queue.keep = keep
        began, keeping = loop.time(), asyncio.create_task(reader.keep())
        await asyncio.sleep(60)
        await end([keeping])
        return [round(at - began, 2) for at in told]

    first, hung, again, after, *_ = virtual.run_until_complete(run())
    assert again - hung == pytest.approx(11, abs=0.1), "as soon as it is known that nobody heard it"
    assert again - first < 25
    assert after - again == pytest.approx(25 / 3, abs=0.1)


async def test_what_is_no_job_is_refused_by_a_workspace_that_works() -> None:
    queue = FakeQueue(
        messages=[message(1, b"{"), message(2, LINE.replace(b"{", b'{"workspace": "nowhere", ', 1) % (2, REST))]
    )
    other = FakeWorkspace()
    reader, workspace = make(queue, eu=other)
    workspace.works = False
    running = asyncio.create_task(reader.run())
    await until(lambda: len(other.refused) == 2)
    assert workspace.refused == []
    other.works = False
    queue.waiting.append(message(3, b"{"))
    await asyncio.sleep(0.1)
    assert queue.waiting, "nobody works: nothing is read"
    reader.stop()
    await running


async def test_a_message_on_which_the_checks_themselves_break_ends_after_so_many_deliveries() -> None:
    """It ended the consumer again and again, before anybody looked at its count."""
    queue = FakeQueue(messages=[message(1), message(2)])
    reader, workspace = make(queue)
    parse = reader._parser._parser.parse

    def broken(line: Line, now: float) -> Any:
        if line.data == message(1).data:
            raise ZeroDivisionError
        return parse(line, now)

    reader._parser._parser.parse = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await reader.run()
    queue.waiting = [message(1), message(2)]
    queue.waiting[0].deliveries = 6
    reader, workspace = make(queue)
    reader._parser._parser.parse = broken  # type: ignore[method-assign]
    running = asyncio.create_task(reader.run())
    await until(lambda: len(workspace.refused) == len(workspace.taken) == 1)
    assert workspace.refused[0].problems[0].code == "too_many_deliveries"
    reader.stop()
    await running


async def test_messages_beyond_the_broker_s_patience_go_back_whatever_queue_their_twins_are_of() -> None:
    """Twins on other queues, and messages without a delivery, were dropped from hand and never given back."""
    queue, twin = FakeQueue(), FakeQueue("queue://twin")
    queue.ack_timeout = 0.0
    reader, workspace = make(queue)
    workspace.in_flight.add("a", unacked(queue, 1))
    workspace.in_flight.add("a", unacked(twin, 2))
    keeping = asyncio.create_task(reader.keep())
    await until(lambda: queue.back == ["m1"] and twin.back == ["m2"])
    keeping.cancel()


async def test_a_queue_that_is_away_is_a_condition_and_comes_back() -> None:
    queue = FakeQueue(messages=[message(1)])
    queue.trouble = QueueLost("away")
    reader, workspace = make(queue)
    running = asyncio.create_task(reader.run())
    await until(lambda: not reader._conditions.ready)
    queue.trouble = None
    await until(lambda: workspace.taken and reader._conditions.ready)
    reader.stop()
    await running


async def test_a_stop_does_not_wait_for_a_read() -> None:
    class Silent(FakeQueue):
        async def read(self, most: int) -> list[Any]:
            await asyncio.sleep(60)
            return []

    reader, _ = make(Silent())
    running = asyncio.create_task(reader.run())
    await asyncio.sleep(0.05)
    reader.stop()
    async with asyncio.timeout(5):
        await running


async def test_what_another_replica_is_at_work_on_is_kept_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given back, and read again at once, over and over."""
    monkeypatch.setattr(reader_module, "TRY_AGAIN", 0.02)
    queue = FakeQueue(messages=[message(1)])
    reader, workspace = make(queue)
    take_on, asked = workspace.take_on, []

    async def at_work_elsewhere(arrived: list[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        asked.append(arrived)
        return await take_on(arrived) if len(asked) > 3 else [held for _, held in arrived]

    workspace.take_on = at_work_elsewhere  # type: ignore[method-assign]
    running = [asyncio.create_task(reader.run()), asyncio.create_task(reader.keep())]
    await until(lambda: workspace.taken)
    assert len(asked) == 4
    await until(lambda: "m1" in queue.kept)
    assert queue.back == []
    reader.stop()
    running[1].cancel()
    await running[0]


@pytest.mark.parametrize("counts", [False, True])
async def test_a_broker_that_counts_it_gets_nothing_back_before_the_stop(counts: bool) -> None:
    """Its redrive policy swallowed jobs that were never tried."""
    queue = FakeQueue(messages=[message(1)])
    queue.counts_returns = counts
    other = FakeWorkspace()
    reader, workspace = make(queue, eu=other)

    async def halted(arrived: list[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        workspace.works = False
        return [held for _, held in arrived]

    workspace.take_on = halted  # type: ignore[method-assign]
    running = asyncio.create_task(reader.run())
    await until(lambda: reader.beside or queue.back)
    await asyncio.sleep(0.1)
    assert queue.back == ([] if counts else ["m1"])
    reader.stop()
    await running
    assert queue.back == ["m1"]


async def test_it_reads_nothing_more_while_the_memory_is_full() -> None:
    large = LINE % (1, REST) + b" " * 100_000
    queue = FakeQueue(messages=[message(number, large) for number in range(50)])
    workspace = FakeWorkspace()
    consumers: Any = {None: workspace}
    reader = Reader(queue, consumers, MessageParser(parser(), Settings()), 20, Conditions(), 500_000)  # type: ignore[arg-type]
    running = asyncio.create_task(reader.run())
    await until(lambda: len(workspace.taken) >= 3)
    await asyncio.sleep(0.1)
    assert len(workspace.taken) == 20, "the fake reads by number alone"
    assert queue.read_bytes == 0
    assert queue.waiting
    for held in workspace.in_flight.recorded(job(1).key):
        workspace.in_flight.closed([held])
    await until(lambda: len(workspace.taken) == 40)
    reader.stop()
    await running


async def test_parked_messages_take_memory_and_no_place() -> None:
    queue = FakeQueue(messages=[message(number) for number in range(60)])
    reader, workspace = make(queue)
    running = asyncio.create_task(reader.run())
    await until(lambda: len(workspace.taken) == 20)
    for held in workspace.in_flight:
        held.parked = True
    await until(lambda: len(workspace.taken) == 40)
    assert workspace.in_flight.places_of(queue) == 20  # type: ignore[arg-type]
    reader.stop()
    await running
