"""The one record per identity: what joins, what is free, and that each message is acknowledged or requeued, once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sender.consume.acknowledger import by_queue
from sender.consume.in_flight import InFlight, InFlightJob, UnackedMessage
from sender.engine.backlog import Backlog
from sender.engine.job_execution import JobExecution
from sender.engine.job_queue import JobQueue
from sender.engine.kind_gate import KindGate
from tests.consume.parts import OTHER_REST, REST, FakeQueue, job, message, unacked


def test_messages_count_by_queue_and_are_known_to_be_overdue() -> None:
    one, other = FakeQueue(), FakeQueue("queue://other")
    one.ack_timeout = 10.0
    in_flight = InFlight()
    first, second = unacked(one, 1, since=100.0), unacked(other, 1, since=0.0)
    in_flight.add("a", first)
    in_flight.add("a", second)
    in_flight.add("b", unacked(other, 2))
    assert (in_flight.of(one), in_flight.of(other), len(list(in_flight))) == (1, 2, 3)  # type: ignore[arg-type]
    assert in_flight.overdue(109.0) == []
    assert in_flight.overdue(111.0) == ["a"]
    assert in_flight.recorded("a") == [first, second]
    assert (in_flight.of(one), in_flight.of(other)) == (1, 2), "in hand until the broker was told"  # type: ignore[arg-type]
    in_flight.closed([first, second])
    assert (in_flight.of(one), in_flight.of(other), in_flight.recorded("a")) == (0, 1, [])  # type: ignore[arg-type]
    assert by_queue([first, second]) == {one: [first.message], other: [second.message]}


def started(in_flight: InFlight, number: int = 1) -> JobExecution:
    execution = JobExecution(job(number), owner=in_flight)
    in_flight.start(execution, unacked(FakeQueue(), number))
    return execution


def state_of(in_flight: InFlight, number: int = 1) -> str:
    record: InFlightJob = in_flight._jobs[job(number).key]
    return record.state


def test_messages_of_one_job_share_its_end() -> None:
    in_flight = InFlight()
    execution = started(in_flight)
    assert state_of(in_flight) == "waiting"
    execution.attempts = 1
    assert state_of(in_flight) == "running"
    assert in_flight.join(job(1), unacked(FakeQueue(), 2)) == "joined"
    assert in_flight.join(job(1, OTHER_REST), unacked(FakeQueue(), 3)) == "conflict"
    assert len(in_flight.recorded(job(1).key)) == 2
    assert in_flight.join(job(1), unacked(FakeQueue(), 4)) == "unknown"


def test_a_requeued_job_that_comes_again_goes_on_and_is_not_started_twice() -> None:
    """It was started a second time beside the first: sent twice by one replica, whom the ledger trusts."""
    in_flight = InFlight()
    execution = started(in_flight)
    assert len(in_flight.requeue([execution.job.key])) == 1
    assert state_of(in_flight) == "requeued"
    assert in_flight.join(job(1), unacked(FakeQueue(), 1)) == "joined"
    assert in_flight.may_start(execution)
    in_flight.requeue([execution.job.key])
    assert not in_flight.may_start(execution), "the lane drops it"
    assert in_flight.join(job(1), unacked(FakeQueue(), 1)) == "unknown"


def test_what_ended_during_a_look_up_is_asked_for_again() -> None:
    """Its message was added to a job that was gone, and stayed in hand for ever."""
    in_flight = InFlight()
    execution = started(in_flight)
    with in_flight.look_up([execution.job.key]):
        ended = in_flight.recorded(execution.job.key)
        assert in_flight.join(job(1), unacked(FakeQueue(), 2)) == "ask_again"
    assert list(in_flight) == ended
    assert in_flight.join(job(1), unacked(FakeQueue(), 2)) == "unknown"


def test_what_lanes_have_dropped_is_forgotten() -> None:
    in_flight = InFlight()
    for number in range(50):
        execution = started(in_flight, number)
        in_flight.closed(in_flight.requeue([execution.job.key]))
        assert not in_flight.may_start(execution)
    assert (in_flight._jobs, in_flight._closing, list(in_flight)) == ({}, {}, [])


def test_only_what_nobody_can_have_accepted_is_unstarted() -> None:
    in_flight = InFlight()
    waiting = started(in_flight, 1)
    begun = started(in_flight, 2)
    begun.attempts = 1
    assert in_flight.unstarted() == [waiting.job.key]


JOBS = {content: [job(number, content) for number in range(2)] for content in (REST, OTHER_REST)}
KEYS = [one.key for one in JOBS[REST]]


class InFlightMachine(RuleBasedStateMachine):
    """A workspace with a lane of its own, whose requests, records and acknowledgements end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = InFlight()
        self.queue = JobQueue(100, 10**9)
        listener = SimpleNamespace(job_left=self.in_flight.lane_left)
        context: Any = SimpleNamespace(kinds=KindGate(), wall=lambda: 0.0, listener=listener)
        self.backlog = Backlog(self.queue, context)
        self.in_lane: list[JobExecution] = []
        """Taken on, and neither ended nor dropped."""
        self.under_way: list[JobExecution] = []
        self.unrecorded: list[JobExecution] = []
        self.doubtful: dict[str, JobExecution] = {}
        self.look_ups: list[tuple[int, Any]] = []
        self.messages: list[UnackedMessage] = []
        self.acked: list[UnackedMessage] = []
        self.requeued: list[UnackedMessage] = []
        self.broker = FakeQueue()

    @rule(number=st.integers(0, 1), content=st.sampled_from([REST, OTHER_REST]))
    def arrive(self, number: int, content: bytes) -> None:
        one = JOBS[content][number]
        unacked = UnackedMessage(self.broker, message(len(self.messages)), 0.0)  # type: ignore[arg-type]
        joined = self.in_flight.join(one, unacked)
        if joined == "ask_again":
            return  # it goes back, and was never in hand
        self.messages.append(unacked)
        if joined == "conflict":
            self.in_flight.add(f"message {unacked.message.id}", unacked)
        elif joined == "unknown" and one.key in self.doubtful:
            self.in_flight.add(one.key, unacked)
        elif joined == "unknown":
            execution = JobExecution(one, owner=self.in_flight)
            self.in_flight.start(execution, unacked)
            self.accept(execution)

    def accept(self, execution: JobExecution) -> None:
        assert not any(one.job.key == execution.job.key for one in self.in_lane), "started beside itself"
        self.queue.put(execution)
        self.in_lane.append(execution)

    @rule()
    def the_lane_takes_one_up(self) -> None:
        wanted = set(self.in_flight.keys())
        execution = self.backlog.take(0.0)
        if execution is not None:
            assert execution.job.key in wanted, "no message waits for it"
            self.under_way.append(execution)
        waiting = {id(one) for rank in self.queue._ranks.values() for one in rank}
        waiting |= {id(entry[2]) for entry in self.backlog._retries}
        kept = waiting | {id(one) for one in self.under_way}
        dropped = [one for one in self.in_lane if id(one) not in kept]
        assert not any(one.job.key in wanted for one in dropped), "a message waits for it"
        self.in_lane = [one for one in self.in_lane if id(one) in kept]

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from(["again", "left", "end", "end", "end"]))
    def a_request_ends(self, data: st.DataObject, how: str) -> None:
        execution = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        execution.attempts += 1
        if how == "again":
            self.backlog.put_back(execution, 0.0)
            return
        self.in_lane.remove(execution)
        if how == "left":
            self.backlog.leave(execution)
        else:
            self.queue.finish(execution)
            self.unrecorded.append(execution)

    @precondition(lambda self: self.unrecorded)
    @rule(doubt=st.booleans())
    def an_end_is_durable(self, doubt: bool) -> None:
        execution = self.unrecorded.pop(0)
        key = execution.job.key
        if not doubt:
            self.in_flight.recorded(key)
        else:
            self.in_flight.in_doubt(key)
            if key in self.in_flight:
                self.doubtful[key] = execution

    @precondition(lambda self: self.doubtful)
    @rule(again=st.booleans())
    def a_doubt_is_resolved(self, again: bool) -> None:
        key, execution = self.doubtful.popitem()
        if not again:
            self.in_flight.recorded(key)
        elif key in self.in_flight:
            self.in_flight.start(execution)
            self.accept(execution)

    @rule(keys=st.lists(st.sampled_from(KEYS), unique=True))
    def requeue(self, keys: list[str]) -> None:
        for key in keys:
            self.doubtful.pop(key, None)
        self.in_flight.requeue(keys)

    @rule(keys=st.lists(st.sampled_from(KEYS), unique=True, min_size=1))
    def a_look_up_begins(self, keys: list[str]) -> None:
        look_up = self.in_flight.look_up(keys)
        look_up.__enter__()
        self.look_ups.append((len(keys), look_up))

    @precondition(lambda self: self.look_ups)
    @rule()
    def a_look_up_ends(self) -> None:
        self.look_ups.pop(0)[1].__exit__(None, None, None)

    @rule(what=st.sampled_from(["ack", "requeue"]), told=st.integers(0, 5))
    def the_broker_is_told(self, what: Any, told: int) -> None:
        """Also of messages that it is being told the other of."""
        fresh = self.in_flight.tell(list(self.in_flight._closing)[:told], what)
        (self.acked if what == "ack" else self.requeued).extend(fresh)

    @rule()
    def the_broker_has_heard(self) -> None:
        self.in_flight.closed([one for one in self.messages if one.told])

    @invariant()
    def no_message_is_forgotten_or_told_of_twice(self) -> None:
        told = self.acked + self.requeued
        assert len(told) == len(set(told)), "both acknowledged and requeued"
        in_hand = list(self.in_flight)
        assert len(in_hand) == len(set(in_hand)), "in hand twice"
        assert set(self.messages) == set(told) | set(in_hand)
        assert {one for one in in_hand if one.told} <= set(told)

    @invariant()
    def an_identity_is_free_exactly_when_nothing_of_it_may_start(self) -> None:
        for key in KEYS:
            record = self.in_flight._jobs.get(key)
            taken = record is not None and record.execution is not None
            open_ones = [one for one in self.in_lane + self.unrecorded if one.job.key == key]
            assert len(open_ones) <= 1
            if open_ones:
                assert taken, "it may still start, or its end is not durable"
            elif taken:
                assert record is not None
                assert record.left, "its end is durable, or its lane has dropped it"
                assert record.messages, "nobody waits for it"

    @invariant()
    def a_job_that_nobody_waits_for_does_not_start(self) -> None:
        for execution in self.in_lane:
            record = self.in_flight._jobs[execution.job.key]
            assert record.execution is execution
            assert not record.left
            assert bool(record.messages) == (record.state != "requeued")

    def teardown(self) -> None:
        """Whatever happened, the end leaves nothing in hand, and all lanes' jobs forgotten."""
        for _, look_up in self.look_ups:
            look_up.__exit__(None, None, None)
        self.in_flight.requeue(self.in_flight.keys())
        self.requeued += self.in_flight.tell(self.in_flight.closing(), "requeue")
        self.in_flight.closed(self.acked + self.requeued)
        assert list(self.in_flight) == []
        while self.backlog.take(0.0) is not None:
            raise AssertionError("a job started though its messages went back")
        open_ones = self.under_way + self.unrecorded
        assert all(one.execution in open_ones for one in self.in_flight._jobs.values())
        assert not self.in_flight._ended_meanwhile
        assert set(self.messages) == set(self.acked) ^ set(self.requeued)


InFlightMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestInFlightMachine = InFlightMachine.TestCase
