"""The parts of a consumer by themselves: holdings, hands, appetite, closer, reader, with fakes for the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sender.config.settings import Settings
from sender.consume.acknowledger import Acknowledger, reason_of
from sender.consume.in_flight import Hands
from sender.consume.lease import NOTE, Lease
from sender.consume.prefetch import MOST_AT_ONCE, TASTE, PrefetchPolicy
from sender.consume.reader import Reader
from sender.consume.requeue import BackgroundTasks, end_all, give_back
from sender.consume.unacked import Holdings, UnackedMessage, by_queue
from sender.engine.identities import Identities
from sender.engine.job_execution import JobExecution
from sender.engine.job_queue import JobQueue
from sender.jobs.job import Line
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.queues import Message, QueueError, QueueLost
from sender.runtime.conditions import Conditions
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sender.jobs.job import Job

LINE = b'{"id": "%d", "kind": "email", "payload": {"to": "a@example.com", "identifiers": {"id": "1"}, %s}}'
REST = b'"transactional_message_id": 3'


def parser() -> Parser:
    return Parser("email", Options(True, frozenset()), frozenset({"eu"}))


def job(number: int, rest: bytes = REST) -> Job:
    found = parser().parse(Line("queue", number, LINE % (number, rest), None), 0.0)
    assert hasattr(found, "key"), found
    return found


class FakeQueue:
    keep_every: float | None = 0.01
    ack_timeout: float | None = None

    def __init__(self, source: str = "queue://one", messages: Iterable[Message] = ()) -> None:
        self.source = source
        self.waiting = list(messages)
        self.acked: list[str] = []
        self.back: list[str] = []
        self.kept: list[str] = []
        self.trouble: Exception | None = None

    async def read(self, most: int) -> list[Message]:
        if self.trouble:
            raise self.trouble
        found, self.waiting = self.waiting[:most], self.waiting[most:]
        if not found:
            await asyncio.sleep(0.005)
        return found

    async def ack(self, messages: Iterable[Message]) -> None:
        if self.trouble:
            raise self.trouble
        self.acked += [message.id for message in messages]

    async def requeue(self, messages: Iterable[Message]) -> None:
        if self.trouble:
            raise self.trouble
        self.back += [message.id for message in messages]

    async def keep(self, messages: Iterable[Message]) -> None:
        self.kept += [message.id for message in messages]

    async def lag(self) -> int | None:
        return 0


def message(number: int, data: bytes | None = None) -> Message:
    line = LINE % (number, REST) if data is None else data
    return Message(source="queue://one", id=f"m{number}", data=line, deliveries=1, handle=None)


def holding(queue: Any, number: int, since: float = 0.0) -> UnackedMessage:
    return UnackedMessage(queue, message(number), since)


async def until(what: Any) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.005)


def test_holdings_count_by_queue_and_know_what_is_overdue() -> None:
    one, other = FakeQueue(), FakeQueue("queue://other")
    one.ack_timeout = 10.0
    holdings = Holdings()
    first, second = holding(one, 1, since=100.0), holding(other, 1, since=0.0)
    holdings.add("a", first)
    holdings.add("a", second)
    holdings.add("b", holding(other, 2))
    assert (holdings.of(one), holdings.of(other), len(holdings)) == (1, 2, 3)  # type: ignore[arg-type]
    assert holdings.overdue(109.0) == []
    assert holdings.overdue(111.0) == ["a"]
    assert holdings.pop("a") == [first, second]
    assert (holdings.of(one), holdings.of(other), holdings.pop("a")) == (0, 1, [])  # type: ignore[arg-type]
    assert by_queue([first, second]) == {one: [first.message], other: [second.message]}


class TestHands:
    def make(self) -> tuple[Hands, Identities]:
        identities = Identities(ledger=None)  # type: ignore[arg-type]
        return Hands(identities), identities

    def started(self, hands: Hands, number: int = 1) -> tuple[JobExecution, JobQueue]:
        execution, lane = JobExecution(job(number)), JobQueue(10, 10**6)
        hands.start(execution, holding(FakeQueue(), number))
        lane.put(execution)
        return execution, lane

    async def test_messages_of_one_job_share_its_end(self) -> None:
        hands, identities = self.make()
        self.started(hands)
        assert hands.join(job(1), holding(FakeQueue(), 2)) == "joined"
        assert hands.join(job(1, b'"body": "x", "subject": "y", "from": "b@example.com"'), holding(FakeQueue(), 3)) == (
            "conflict"
        )
        assert len(hands.end(job(1).key)) == 2
        assert identities.held(job(1).key) is None
        assert hands.join(job(1), holding(FakeQueue(), 4)) == "unknown"

    async def test_a_withdrawn_job_that_comes_again_goes_on_and_is_not_started_twice(self) -> None:
        """It was started a second time beside the first: sent twice by one replica, whom the ledger trusts."""
        hands, _ = self.make()
        execution, lane = self.started(hands)
        assert len(hands.withdraw([execution.job.key])) == 1
        assert execution.withdrawn
        assert hands.join(job(1), holding(FakeQueue(), 1)) == "joined"
        assert not execution.withdrawn
        hands.withdraw([execution.job.key])
        lane.finish(execution)  # the lane has dropped it
        assert hands.join(job(1), holding(FakeQueue(), 1)) == "unknown"

    async def test_what_ended_during_a_look_up_is_asked_for_again(self) -> None:
        """Its message was added to a job that was gone, and stayed in hand for ever."""
        hands, identities = self.make()
        execution, _ = self.started(hands)
        identities._lookups += 1
        hands.end(execution.job.key)
        assert hands.join(job(1), holding(FakeQueue(), 2)) == "ended"
        assert len(hands.holdings) == 0

    async def test_what_lanes_have_dropped_is_forgotten(self) -> None:
        hands, identities = self.make()
        for number in range(50):
            execution, lane = self.started(hands, number)
            hands.withdraw([execution.job.key])
            lane.finish(execution)
        hands.withdraw([])
        assert (hands._executions, identities._held) == ({}, {})

    async def test_only_what_nobody_can_have_accepted_is_unstarted(self) -> None:
        hands, _ = self.make()
        waiting, _ = self.started(hands, 1)
        begun, _ = self.started(hands, 2)
        begun.attempts = 1
        assert hands.waiting(lambda one: not one.attempts) == [waiting.job.key]


class FakeTable:
    def __init__(self, free: int, most: int = 200) -> None:
        self.free, self.most = free, most

    def places(self, lane: str, priority: str) -> tuple[int, int]:
        return self.free, self.most


class TestAppetite:
    def test_it_reads_in_bites_what_its_lanes_have_room_for(self) -> None:
        appetite, table = PrefetchPolicy(100), FakeTable(200)
        assert appetite.most(0, 0.0) == MOST_AT_ONCE
        appetite.saw(table, job(1), 0.0)
        assert appetite.most(90, 0.0) == 0, "not one by one"
        assert appetite.most(75, 0.0) == 25
        table.free = 30
        assert appetite.most(0, 0.1) == 30

    def test_full_lanes_leave_a_taste_now_and_then(self) -> None:
        appetite, table = PrefetchPolicy(100), FakeTable(0, 4)
        appetite.saw(table, job(1), 0.0)
        found = [appetite.most(4, at / 10) for at in range(40)]
        assert set(found) == {0, TASTE}
        assert 3 <= found.count(TASTE) <= 5

    def test_a_workspace_that_has_halted_does_not_slow_the_others_down(self) -> None:
        appetite = PrefetchPolicy(100)
        appetite.saw(FakeTable(0, 0), job(1), 0.0)
        assert appetite.most(0, 0.1) == MOST_AT_ONCE

    @given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 300), st.integers(0, 300))
    def test_never_more_in_hand_than_allowed(self, prefetch: int, in_hand: int, free: int, most: int) -> None:
        appetite = PrefetchPolicy(prefetch)
        appetite.saw(FakeTable(min(free, most), most), job(1), 0.0)
        assert 0 <= appetite.most(in_hand, 1.0) <= max(0, prefetch - in_hand)


class FakeDeadLetter:
    def __init__(self) -> None:
        self.put_in: list[tuple[bytes, Mapping[str, object]]] = []
        self.refused: set[bytes] = set()
        self.away = False

    async def put(self, line: bytes, reason: Mapping[str, object]) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise QueueLost("away")
        if line in self.refused:
            raise QueueError("too large")
        self.put_in.append((line, reason))

    async def aclose(self) -> None: ...


class TestCloser:
    async def test_a_letter_that_is_refused_for_ever_holds_up_no_other(self) -> None:
        """One that is too large for the broker stood before all later ones."""
        letters, queue = FakeDeadLetter(), FakeQueue()
        acknowledger = Acknowledger(letters)
        letters.refused.add(message(0).data)
        running = asyncio.create_task(acknowledger.run())
        for number in range(60):
            acknowledger.bury(holding(queue, number), {"reason": "rejected"})
        acknowledger.ack(holding(queue, 100))
        await until(lambda: len(queue.acked) == 60)
        assert "m0" not in queue.acked
        assert [one.message.id for one in acknowledger.holdings] == ["m0"], "it stays in hand, and is kept"
        assert acknowledger.of(queue) == 1  # type: ignore[arg-type]
        letters.refused.clear()
        async with asyncio.timeout(5):
            await acknowledger.drain()
        assert letters.put_in[0][1]["queue"] == "queue://one"
        running.cancel()

    async def test_a_dead_letter_that_is_away_is_told_once(self) -> None:
        letters, queue = FakeDeadLetter(), FakeQueue()
        letters.away = True
        acknowledger = Acknowledger(letters)
        running = asyncio.create_task(acknowledger.run())
        with capture_logs() as logs:
            for number in range(30):
                acknowledger.bury(holding(queue, number), {})
            await asyncio.sleep(0.3)
            assert sum("dead letter" in line["event"] for line in logs) == 1
            letters.away = False
            await until(lambda: len(queue.acked) == 30)
        running.cancel()

    async def test_without_a_dead_letter_the_message_is_acknowledged(self) -> None:
        acknowledger, queue = Acknowledger(None), FakeQueue()
        acknowledger.bury(holding(queue, 1), {})
        running = asyncio.create_task(acknowledger.run())
        await acknowledger.drain()
        assert queue.acked == ["m1"]
        running.cancel()

    def test_reasons_name_the_first_problem(self) -> None:
        outcome = Outcome("1", "email", "invalid", "q", 1, problems=(Problem("code", "field", "text"),))
        assert reason_of(outcome) == {
            "reason": "invalid", "id": "1", "kind": "email", "code": "code", "field": "field", "error": "text",
        }


async def test_a_give_back_that_fails_is_logged() -> None:
    """It was swallowed."""
    queue = FakeQueue()
    queue.trouble = QueueError("no right to write")
    with capture_logs() as logs:
        await give_back([holding(queue, 1)])
    assert [line["messages"] for line in logs if "given back" in line["event"]] == [1]


async def test_errands_that_break_are_logged() -> None:
    background = BackgroundTasks()

    async def broken() -> None:
        raise ValueError("no")

    with capture_logs() as logs:
        background.start(broken(), "test")
        await background.finish()
        await asyncio.sleep(0)
    assert [line["what"] for line in logs if "errand" in line["event"]] == ["test"]


async def test_a_swallowed_cancellation_does_not_hold_up_the_end() -> None:
    """A drain waited for its whole grace on a task whose cancellation the Redis client had swallowed."""
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_all([task])
    assert swallowed == 3


class FakeStation:
    def __init__(self, room: int = 1000) -> None:
        self.holdings = Holdings()
        self.works = True
        self.left = room
        self.taken: list[Job] = []
        self.refused: list[Outcome] = []

    def places(self, lane: str, priority: str) -> tuple[int, int]:
        return (self.left, 1000) if self.works else (0, 0)

    def refuse(self, held: UnackedMessage, outcome: Outcome) -> None:
        self.holdings.add(held.message.id, held)
        self.refused.append(outcome)

    async def take_on(self, arrived: list[tuple[Job, UnackedMessage]]) -> list[UnackedMessage]:
        if not self.works:
            return [held for _, held in arrived]
        for found, held in arrived:
            self.taken.append(found)
            self.holdings.add(found.key, held)
        return []

    def withdraw(self, keys: list[str]) -> list[UnackedMessage]:
        return [held for key in keys for held in self.holdings.pop(key)]


class TestReader:
    def make(self, queue: Any, **more: Any) -> tuple[Reader, FakeStation, Acknowledger]:
        workspace_consumer, acknowledger = FakeStation(), Acknowledger(None)
        consumers: Any = {None: workspace_consumer, **more}
        return (
            Reader(queue, consumers, parser(), Settings(prefetch=20), acknowledger, Conditions()),
            workspace_consumer,
            acknowledger,
        )

    async def test_it_holds_no_more_than_it_may_and_keeps_all_of_it(self) -> None:
        """What only waits for its dead letter or its ack was not kept, and came again."""
        queue = FakeQueue(messages=[message(number) for number in range(50)])
        reader, workspace_consumer, acknowledger = self.make(queue)
        running = [asyncio.create_task(reader.run()), asyncio.create_task(reader.keep())]
        await until(lambda: len(workspace_consumer.taken) == 20)
        for held in workspace_consumer.holdings.pop(job(0).key):
            acknowledger.ack(held)  # nobody runs it
        await asyncio.sleep(0.1)
        assert len(workspace_consumer.taken) == 20
        queue.kept.clear()
        await until(lambda: "m0" in queue.kept)
        reader.stop()
        running[1].cancel()
        await running[0]

    async def test_what_is_no_job_is_refused_by_a_station_that_works(self) -> None:
        queue = FakeQueue(
            messages=[message(1, b"{"), message(2, LINE.replace(b"{", b'{"workspace": "nowhere", ', 1) % (2, REST))]
        )
        other = FakeStation()
        reader, workspace_consumer, _ = self.make(queue, eu=other)
        workspace_consumer.works = False
        running = asyncio.create_task(reader.run())
        await until(lambda: len(other.refused) == 2)
        assert workspace_consumer.refused == []
        other.works = False
        queue.waiting.append(message(3, b"{"))
        await asyncio.sleep(0.1)
        assert queue.waiting, "nobody works: nothing is read"
        reader.stop()
        await running

    async def test_a_message_on_which_the_checks_themselves_break_ends_after_so_many_deliveries(self) -> None:
        """It ended the consumer again and again, before anybody looked at its count."""
        queue = FakeQueue(messages=[message(1), message(2)])
        reader, workspace_consumer, _ = self.make(queue)
        parse = reader._parser.parse

        def broken(line: Line, now: float) -> Any:
            if line.data == message(1).data:
                raise ZeroDivisionError
            return parse(line, now)

        reader._parser.parse = broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await reader.run()
        queue.waiting = [message(1), message(2)]
        queue.waiting[0].deliveries = 6
        reader, workspace_consumer, _ = self.make(queue)
        reader._parser.parse = broken  # type: ignore[method-assign]
        running = asyncio.create_task(reader.run())
        await until(lambda: len(workspace_consumer.refused) == len(workspace_consumer.taken) == 1)
        assert workspace_consumer.refused[0].problems[0].code == "too_many_deliveries"
        reader.stop()
        await running

    async def test_messages_beyond_the_broker_s_patience_go_back_whatever_queue_their_twins_are_of(self) -> None:
        """Twins on other queues, and messages without a delivery, were dropped from hand and never given back."""
        queue, twin = FakeQueue(), FakeQueue("queue://twin")
        queue.ack_timeout = 0.0
        reader, workspace_consumer, _ = self.make(queue)
        workspace_consumer.holdings.add("a", holding(queue, 1))
        workspace_consumer.holdings.add("a", holding(twin, 2))
        keeping = asyncio.create_task(reader.keep())
        await until(lambda: queue.back == ["m1"] and twin.back == ["m2"])
        keeping.cancel()

    async def test_a_queue_that_is_away_is_a_condition_and_comes_back(self) -> None:
        queue = FakeQueue(messages=[message(1)])
        queue.trouble = QueueLost("away")
        reader, workspace_consumer, _ = self.make(queue)
        running = asyncio.create_task(reader.run())
        await until(lambda: not reader._conditions.ready)
        queue.trouble = None
        await until(lambda: workspace_consumer.taken and reader._conditions.ready)
        reader.stop()
        await running


class FakeLedger:
    def __init__(self, run: int, notes: dict[str, bytes]) -> None:
        self.run, self.notes = run, notes

    async def get_note(self, name: str) -> bytes | None:
        return self.notes.get(name)

    async def put_note(self, name: str, value: bytes) -> None:
        self.notes[name] = value

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        if self.notes.get(name) != expected:
            return False
        self.notes.pop(name, None)
        self.notes.update({} if new is None else {name: new})
        return True


@pytest.mark.parametrize("seconds", [-1.0, 20.0])
async def test_the_lease_is_one_s_until_it_runs_out(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.consume.lease.SECONDS", seconds)
    notes: dict[str, bytes] = {}
    one, other = (Lease(FakeLedger(run, notes)) for run in (1, 2))  # type: ignore[arg-type]
    async with one.held() as mine:
        assert mine
        async with other.held() as too:
            assert too == (seconds < 0)
    async with one.held() as mine:
        assert mine == (seconds > 0 or notes[NOTE].startswith(b"1"))
