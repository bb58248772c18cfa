"""Dead letters, acknowledgements and requeues: in this order, each until the broker knows, and none of them twice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.consume.acknowledger import Acknowledger, reason_of, requeue
from sender.consume.dead_letters import DeadLetters
from sender.consume.in_flight import InFlight
from sender.consume.retry_queue import RetryQueue
from sender.errors import FaultError
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.queues import QueueError, QueueLost
from sender.queues.queue import RETRY
from sender.runtime.supervisor import Supervisor
from tests.consume.parts import FakeDeadLetter, FakeQueue, message, unacked, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from sender.queues import Message


@asynccontextmanager
async def running(
    letters: FakeDeadLetter | None, retries: RetryQueue | None = None
) -> AsyncIterator[tuple[Acknowledger, InFlight, Supervisor]]:
    in_flight = InFlight()
    async with Supervisor() as supervisor:
        acknowledger = Acknowledger(in_flight, None if letters is None else DeadLetters(letters), supervisor, retries)
        supervisor.start(acknowledger.run(), "acknowledgements")
        yield acknowledger, in_flight, supervisor


async def test_a_letter_that_is_refused_for_ever_holds_up_no_other() -> None:
    """One that is too large for the broker stood before all later ones."""
    letters, queue = FakeDeadLetter(), FakeQueue()
    letters.refused.add(message(0).data)
    async with running(letters) as (acknowledger, in_flight, _):
        for number in range(60):
            acknowledger.dead_letter(unacked(queue, number), {"reason": "rejected"})
        acknowledger.ack(unacked(queue, 100))
        await until(lambda: len(queue.acked) == 60)
        assert "m0" not in queue.acked
        assert [one.message.id for one in in_flight] == ["m0"], "it stays in hand, and is kept"
        assert in_flight.of(queue) == 1  # type: ignore[arg-type]
        letters.refused.clear()
        async with asyncio.timeout(5):
            await in_flight.wait_closed()
    assert letters.put_in[0][1]["queue"] == "queue://one"


async def test_a_dead_letter_that_is_away_is_told_once() -> None:
    letters, queue = FakeDeadLetter(), FakeQueue()
    letters.away = True
    async with running(letters) as (acknowledger, _, _):
        with capture_logs() as logs:
            for number in range(30):
                acknowledger.dead_letter(unacked(queue, number), {})
            await asyncio.sleep(0.3)
            assert sum("dead letter" in line["event"] for line in logs) == 1
            letters.away = False
            await until(lambda: len(queue.acked) == 30)


async def test_without_a_dead_letter_the_message_is_acknowledged() -> None:
    queue = FakeQueue()
    async with running(None) as (acknowledger, in_flight, _):
        acknowledger.dead_letter(unacked(queue, 1), {})
        await in_flight.wait_closed()
    assert queue.acked == ["m1"]


class FakeRetryTarget(FakeDeadLetter):
    def __init__(self) -> None:
        super().__init__()
        self.retried: list[tuple[str, Any]] = []

    async def retry(self, message: Message, reason: Mapping[str, object]) -> None:
        if self.away:
            raise QueueLost("away")
        self.retried.append((message.id, reason["retry"]))


@pytest.mark.parametrize(("status", "headers", "goes"), [
    ("failed", {}, 1), ("failed", {RETRY: "1"}, 2), ("failed", {RETRY: "2"}, None), ("failed", {RETRY: "999"}, None),
    ("failed", {RETRY: "nonsense"}, 1), ("in_doubt", {}, None), ("rejected", {}, None), ("invalid", {}, None),
])
async def test_only_what_failed_is_tried_again_and_not_for_ever(
    status: str, headers: dict[str, str], goes: int | None
) -> None:
    letters, target, queue = FakeDeadLetter(), FakeRetryTarget(), FakeQueue()
    async with running(letters, RetryQueue(target, 2)) as (acknowledger, in_flight, _):
        one = unacked(queue, 1)
        one.message.headers = headers
        acknowledger.dead_letter(one, {"reason": status})
        await in_flight.wait_closed()
    assert target.retried == ([] if goes is None else [("m1", goes)])
    assert len(letters.put_in) == (goes is None)
    assert queue.acked == ["m1"]


async def test_a_retry_queue_that_is_away_keeps_the_message_and_is_told_apart_from_the_dead_letter() -> None:
    letters, target, queue = FakeDeadLetter(), FakeRetryTarget(), FakeQueue()
    target.away = True
    retries = RetryQueue(target, 2)
    async with running(letters, retries) as (acknowledger, in_flight, _):
        acknowledger.dead_letter(unacked(queue, 1), {"reason": "failed"})
        await until(lambda: acknowledger.trouble(retries))
        assert acknowledger.trouble(retries) == "the retry queue does not answer; letters that wait: 1"
        assert (queue.acked, letters.put_in) == ([], [])
        target.away = False
        await in_flight.wait_closed()
        assert acknowledger.trouble(retries) is None
    assert (queue.acked, target.retried) == (["m1"], [("m1", 1)])


def test_reasons_name_the_first_problem() -> None:
    outcome = Outcome("1", "email", "invalid", "q", 1, problems=(Problem("code", "field", "text"),))
    assert reason_of(outcome) == {
        "reason": "invalid", "id": "1", "kind": "email", "code": "code", "field": "field", "error": "text",
    }


async def test_a_requeue_that_fails_is_logged() -> None:
    """It was swallowed."""
    queue = FakeQueue()
    queue.trouble = QueueError("no right to write")
    with capture_logs() as logs:
        await requeue([unacked(queue, 1)])
    assert [line["messages"] for line in logs if "given back" in line["event"]] == [1]


class Stuck(FakeQueue):
    """Takes acknowledgements, and never answers."""

    async def ack(self, messages: Iterable[Message]) -> None:
        self.acked += [one.id for one in messages]
        await asyncio.sleep(60)


async def test_at_the_end_no_message_is_requeued_that_its_broker_may_have_acknowledged() -> None:
    queue = Stuck()
    letters = FakeDeadLetter()
    letters.away = True
    async with running(letters) as (acknowledger, in_flight, _):
        acknowledger.ack(unacked(queue, 1))
        await until(lambda: queue.acked == ["m1"])
        acknowledger.ack(unacked(queue, 2))
        acknowledger.dead_letter(unacked(queue, 3), {})
        await acknowledger.tell(in_flight.closing(), "requeue")
        assert queue.back == ["m2", "m3"]
        assert [one.message.id for one in in_flight] == ["m1"]


async def test_a_requeue_that_breaks_is_a_failure() -> None:
    """It was logged, and its messages were in no registry."""

    class Broken(FakeQueue):
        async def requeue(self, messages: Iterable[Message], delay: float = 0.0) -> None:
            raise ValueError("a fault of the client library")

    told: list[Any] = []
    queue = Broken()
    async with running(None) as (acknowledger, in_flight, supervisor):
        supervisor.on_failure(told.append)
        acknowledger.requeue([unacked(queue, 1)])
        await until(lambda: told)
        assert isinstance(told[0], FaultError)
        assert [one.message.id for one in in_flight] == ["m1"], "it is not forgotten"
