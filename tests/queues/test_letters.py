"""Dead letter queues on every broker: what lies there, what goes back, and what a run that dies leaves."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.config.settings import DEFAULTS
from sender.consume.letter_filter import LetterFilter
from sender.consume.redrive import RedrivePlan, redrive
from sender.queues import Message, QueueLost
from sender.queues.letters import Letter, LetterBox
from sender.queues.publisher import Publisher
from sender.queues.queue import REDRIVE
from sender.queues.queue_url import open_letters
from tests.queues.brokers import KINDS
from tests.support.processes import email, sender

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)
every_broker = pytest.mark.parametrize("broker", KINDS, indirect=True)


def line(number: int) -> bytes:
    return json.dumps(email(number)).encode()


def reason(number: int, code: str, status: str = "failed") -> dict[str, Any]:
    return {"reason": status, "code": code, "id": f"job-{number}", "at": f"2026-01-01T00:00:0{number % 10}.000+00:00"}


async def write(broker: Any, *codes: str, status: str = "failed") -> None:
    sink = broker.sink()
    for number, code in enumerate(codes):
        await sink.put(line(number), reason(number, code, status), f"who/{number}")


async def look(broker: Any) -> list[Letter]:
    """All letters, left where they are."""
    letters = open_letters(broker.sink_url())
    found: list[Letter] = []
    try:
        await letters.open()
        while page := await letters.read():
            found += page
            await letters.leave(page)
    finally:
        await letters.aclose()
    return found


def plan(broker: Any, *codes: str, **more: Any) -> RedrivePlan:
    wanted = LetterFilter(codes=frozenset(codes))
    return RedrivePlan(DEFAULTS, broker.sink_url(), broker.url(), wanted, {None: "http://127.0.0.1"}, **more)


async def read_all(broker: Any, number: int) -> list[Message]:
    queue = broker.queue(return_after=30.0)
    got: list[Message] = []
    for _ in range(40):
        batch = await queue.read(20)
        got += batch
        await queue.ack(batch)
        if len(got) >= number:
            break
    return [*got, *await queue.read(20)]


@pytest.mark.parametrize("broker", ["sqs"], indirect=True)
async def test_letters_that_a_killed_run_hides_are_told(broker: Any) -> None:
    """SQS shows them to nobody for five minutes, and the next run said that none were left."""
    await write(broker, "absent", "absent")
    killed = open_letters(broker.sink_url())
    await killed.open()
    assert len(await killed.read()) == 2
    with capture_logs() as logs:
        assert await look(broker) == []
    assert [(one["event"], one["letters"]) for one in logs] == [
        ("letters are hidden from us; look again in 5 minutes", 2)
    ]
    await killed.aclose()


@every_broker
async def test_all_letters_are_seen_again_and_again_and_none_is_taken_out(broker: Any) -> None:
    await write(broker, *["absent"] * 12, "api_error")
    for _ in range(3):
        found = await look(broker)
        assert sorted(letter.data for letter in found) == sorted(map(line, range(13)))
    by_id = {letter.id: letter for letter in found}
    assert by_id["job-12"].code == "api_error"
    assert by_id["job-3"].identity == "who/3"
    assert by_id["job-3"].written_at == 1767225603.0


@every_broker
async def test_only_what_was_asked_for_goes_back_marked_and_under_its_identity(broker: Any) -> None:
    await write(broker, *["absent", "api_error", "server_error"] * 4)
    result = await redrive(plan(broker, "absent", "api_error"))
    assert str(result) == "4 absent -> queue, 4 api_error -> queue, 4 left"
    got = await read_all(broker, 8)
    assert sorted(one.data for one in got) == sorted(line(n) for n in range(12) if n % 3 < 2)
    assert all(one.headers.get(REDRIVE) == "1" and one.deliveries == 1 for one in got)
    assert {letter.code for letter in await look(broker)} == {"server_error"}


@every_broker
async def test_a_dry_run_says_the_same_and_does_nothing(broker: Any) -> None:
    await write(broker, "absent", "absent", "api_error")
    assert str(await redrive(plan(broker, "absent", dry_run=True))) == "2 absent -> queue, 1 left"
    assert len(await look(broker)) == 3
    assert str(await redrive(plan(broker, "absent"))) == "2 absent -> queue, 1 left"


@every_broker
async def test_what_may_have_been_sent_stays(broker: Any) -> None:
    await write(broker, "unanswered", "unanswered", status="in_doubt")
    assert str(await redrive(plan(broker))) == "2 left"
    assert len(await look(broker)) == 2


@every_broker
async def test_the_same_job_can_be_redriven_twice_within_a_minute(broker: Any) -> None:
    """A FIFO queue of SQS drops for five minutes what it takes for a repetition."""
    for _ in range(2):
        await broker.sink().put(line(1), reason(1, "api_error", "rejected") | {"at": str(_)})
        assert str(await redrive(plan(broker))) == "1 api_error -> queue, 0 left"
    assert [one.data for one in await read_all(broker, 2)] == [line(1), line(1)]


@every_broker
async def test_a_run_that_dies_between_the_two_loses_nothing(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(broker, "absent", "absent", "absent")

    async def die(self: LetterBox[Any], letters: Sequence[Letter]) -> None:
        raise QueueLost("cut here")

    with monkeypatch.context() as patch:
        patch.setattr(LetterBox, "remove", die)
        with pytest.raises(QueueLost):
            await redrive(plan(broker))
    assert str(await redrive(plan(broker))) == "3 absent -> queue, 0 left"
    got = await read_all(broker, 6)
    assert sorted({one.data for one in got}) == sorted(map(line, range(3)))


@every_broker
async def test_a_queue_that_takes_nothing_costs_no_letter(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(broker, "absent", "absent")

    async def refuse(self: Publisher[Any], jobs: object) -> None:
        raise QueueLost("full")

    monkeypatch.setattr(Publisher, "redrive", refuse)
    with pytest.raises(QueueLost):
        await redrive(plan(broker))
    assert len(await look(broker)) == 2


@every_broker
async def test_the_commands(broker: Any, tmp_path: Path) -> None:
    await write(broker, "absent", "api_error")

    async def run(*arguments: str) -> str:
        done = await asyncio.to_thread(sender, *arguments, cwd=tmp_path)  # the loop here has the line to the broker
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    counted = await run("dead", broker.sink_url(), "--count")
    assert counted.split() == ["1", "failed", "absent", "1", "failed", "api_error"]
    shown = await run("dead", broker.sink_url())
    assert "api_error" in shown
    assert "job-1" in shown
    assert "@example.com" not in shown + await run("dead", broker.sink_url(), "--json")
    repaired = (await run("dead", broker.sink_url(), "--jobs", "--code", "api_error")).replace("person1@", "other@")
    (tmp_path / "repaired.jsonl").write_text(repaired)
    told = await run("redrive", broker.sink_url(), "--to", broker.url(), "--repaired", "repaired.jsonl")
    assert told == "1 api_error -> queue, 1 left\n"
    assert [one.data for one in await read_all(broker, 1)] == [repaired.strip().encode()]
