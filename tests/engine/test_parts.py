from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import orjson
import pytest

from sender.engine.admission import admit
from sender.engine.breaker import MOST_WAIT, PROBE_EVERY, Breaker
from sender.engine.identities import Identities
from sender.engine.job_execution import JobExecution
from sender.engine.job_queue import JobQueue
from sender.errors import FaultError, OutputError
from sender.jobs.job import Job, Line
from sender.jobs.kinds import KINDS
from sender.ledger import JobRecord
from sender.outcomes.outcome import Outcome
from sender.outcomes.summary import Books, summary_text
from sender.outcomes.tally import Tally
from sender.send.intake import Intake
from sender.validation.parser import Parser
from tests.support.memory_ledger import MemoryLedger


def make_job(name: str = "a", content: str = "c", kind: str = "email", path: str = "/p", **more: Any) -> Job:
    return Job(name, name, content, KINDS[kind], path, b"{}" * 50, "f", 1, **more)


@pytest.mark.parametrize(
    ("in_hand", "record", "retry", "expected"),
    [
        (None, None, (), "start"),
        ("c", None, (), "duplicate"),
        ("x", None, (), "id_conflict"),
        (None, JobRecord("sent", "c", 1), (), "known"),
        (None, JobRecord("sent", "x", 1), (), "id_conflict"),
        (None, JobRecord("sent", "c", 2), (), "duplicate"),
        (None, JobRecord("failed", "c", 2), (), "duplicate"),
        (None, JobRecord("failed", "c", 1), (), "start"),
        (None, JobRecord("failed", "x", 1), (), "start"),
        (None, JobRecord("rejected", "c", 1), (), "known"),
        (None, JobRecord("rejected", "x", 1), ("rejected",), "start"),
        (None, JobRecord("in_doubt", "c", 1), ("in_doubt",), "start"),
        (None, JobRecord("in_doubt", "c", 1, resendable=False), ("in_doubt",), "known"),
        (None, JobRecord("in_doubt", "c", 1), ("rejected",), "known"),
    ],
)
def test_admission(in_hand: str | None, record: JobRecord | None, retry: tuple[str, ...], expected: str) -> None:
    assert admit(make_job(), in_hand, record, run=2, retry=retry) == expected


async def test_priorities_and_the_share_of_low() -> None:
    queue = JobQueue(10_000, 10**9)
    for number in range(500):
        queue.put(JobExecution(make_job(f"l{number}", priority="low")))
        queue.put(JobExecution(make_job(f"n{number}")))
    queue.put(JobExecution(make_job("h", priority="high")))
    order = [execution.job.id for _ in range(200) if (execution := queue.take())]
    assert order[0] == "h"
    lows = [name for name in order if name.startswith("l")]
    assert 9 <= len(lows) <= 11
    assert [name for name in order if name.startswith("n")] == [f"n{number}" for number in range(190 - 1)][
        : 200 - 1 - len(lows)
    ]


async def test_the_queue_is_bounded_in_jobs_and_bytes() -> None:
    queue = JobQueue(3, 250)
    queue.put(JobExecution(make_job()))
    assert queue.room == (2, 150)
    queue.put(JobExecution(make_job()))
    queue.put(JobExecution(make_job()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.wait_for_room(), 0.01)
    queue.take()
    await asyncio.wait_for(queue.wait_for_room(), 0.1)
    assert len(queue.drain()) == 2
    assert queue.room == (3, 250)


async def test_jobs_on_one_resource_run_one_after_another() -> None:
    queue = JobQueue(100, 10**6)
    for name, path in (("a1", "/n/1/send"), ("a2", "/n/1/send"), ("b1", "/n/2/send"), ("a3", "/n/1/schedule")):
        queue.put(JobExecution(make_job(name, kind="newsletter_send", path=path)))
    first, other = queue.take(), queue.take()
    assert first is not None
    assert other is not None
    assert (first.job.id, other.job.id) == ("a1", "b1")
    assert queue.take() is None
    assert len(queue) == 2
    for name in ("a2", "a3"):
        queue.finish(first)
        first = queue.take()
        assert first is not None
        assert first.job.id == name
        assert queue.take() is None
    queue.finish(first)
    assert len(queue) == 0


async def test_an_end_during_a_look_up_is_not_missed() -> None:
    """The ledger answers as it stood; a twin that ended meanwhile must still be seen."""
    ledger = MemoryLedger()
    identities = Identities(ledger)
    identities.claim("a", "c")
    look_up = await identities.look_up(["a"])
    identities.ended("a")
    with look_up as records:
        assert records == {}
        assert identities.content_of("a") == "c"
    assert identities.content_of("a") is None


def test_breaker_opens_probes_and_doubles() -> None:
    breaker = Breaker(100)
    for _ in range(4):
        breaker.bad(10.0, 9.0)
    breaker.good(10.0, 0.1)
    for _ in range(5):
        breaker.bad(11.0, 10.5)
    assert breaker.state == "open"
    assert breaker.probe_at == 12.0
    for now in range(12, 60):
        breaker.probed(float(now), answered=False)
        assert breaker.probe_at <= now + PROBE_EVERY
    breaker.probed(60.0, answered=True)
    assert breaker.state == "trying"
    breaker.bad(61.0, 5.0)
    assert breaker.state == "trying", "it was begun before the outage"
    waits = []
    for _ in range(8):
        breaker.bad(100.0, 99.0)
        waits.append(breaker.try_at - 100.0)
        assert breaker.probe_at <= 100.0 + PROBE_EVERY
        breaker.probed(100.0 + waits[-1] - 0.1, answered=True)
        assert breaker.state == "open"
        breaker.probed(100.0 + waits[-1], answered=True)
        assert breaker.state == "trying"
    assert waits == sorted(waits)
    assert waits[-1] == MOST_WAIT
    breaker.good(200.0, 0.1)
    assert breaker.state == "closed"
    assert breaker.open_since is None


def test_stall_brake() -> None:
    breaker = Breaker(100)
    for number in range(300):
        breaker.good(number * 0.01, 0.02)
    assert breaker.most_in_hand() == 12
    assert not breaker.stalled(3.0, 12, 2.9)
    assert not breaker.stalled(5.0, 11, 3.0)
    assert breaker.stalled(5.0, 12, 3.0)
    assert breaker.state == "open"
    slow = Breaker(100)
    for number in range(300):
        slow.good(number * 0.01, 0.3)
    assert slow.most_in_hand() == 68


def test_books() -> None:
    books = Books(read=4)
    books.enter(Outcome("a", "email", "sent", "f", 1, attempts=2))
    books.enter(Outcome("b", "email", "in_doubt", "f", 2, attempts=1))
    books.count("duplicate")
    assert books.balance == 1
    books.not_started = 1
    assert books.balance == 0
    books.move("in_doubt", "sent")
    summary = books.summary(1.0, outcomes="o", ledger="l")
    assert (summary["sent"], summary["in_doubt"], summary["attempts"]) == (2, 0, 3)
    assert not books.all_sent
    assert "2" in summary_text(summary)


def test_a_fault_is_told_without_what_it_says() -> None:
    with pytest.raises(ValueError, match="ada") as caught:
        int("ada@example.com")
    told = str(FaultError(caught.value))
    assert told.startswith("a fault of sender itself, ValueError at test_parts.py:")
    assert "ada" not in told
    assert "KeyError; please" in str(FaultError(KeyError("ada")))


async def test_what_another_replica_took_is_no_duplicate_and_is_never_missing() -> None:
    """It was told as a duplicate while a look-up was under way, and lost from the books when a look-up failed."""
    books, told, ledger = Books(), [], MemoryLedger()
    identities = Identities(ledger)
    job = Job("a", "a", "c", KINDS["email"], "/v1/send/email", b"{}", "f", 1)
    lane: Any = SimpleNamespace(name="send")
    session: Any = SimpleNamespace(identities=identities, ledger=ledger, record=told.append, orphans=set())
    intake = Intake(Mock(), lane, session, Mock(), Tally(books))
    identities.claim(job.key, job.content)
    with await identities.look_up(["other"]):
        intake.refused(job, JobRecord("handed_over", "c", 7, owned_elsewhere=True))
    assert (intake.elsewhere, told) == ([(job, None)], [])
    ledger.find = AsyncMock(side_effect=OutputError("away"))  # type: ignore[method-assign]
    with pytest.raises(OutputError):
        await intake.look_again()
    assert intake.elsewhere == [(job, None)]


@pytest.mark.parametrize(("written", "known"), [
    ('{"id": "42", "email": null}', {"id": "42"}),
    ('{"id": 12345678901234567890123}', {"id": "12345678901234567890123"}),
    ('{"email": "a\\ud83d@b.c"}', {"email": "a\ufffd@b.c"}),
])
def test_a_doubtful_job_is_looked_for_by_the_person_that_the_api_reads(written: str, known: dict[str, str]) -> None:
    """Half an emoji stopped the run, digits over 64 bits and a null were looked for in vain, which means absent."""
    line = f'{{"to": "a@b.c", "transactional_message_id": 3, "identifiers": {written}}}'.encode()
    job = Parser().parse(Line("f", 1, line), 0.0)
    assert isinstance(job, Job)
    assert orjson.loads(JobExecution(job).claim(0.0).detail)["identifiers"] == known
