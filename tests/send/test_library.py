"""`sender.open_session` against a running sandbox: the guarantees of the command, from a Python program."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import sender
from tests.support.processes import KEY, email, outcomes, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


def settings(sandbox: Sandbox, folder: Path, **more: Any) -> sender.Settings:
    return sender.Settings(base_url=sandbox.url, outcomes=str(folder / "log"), rate=200.0, reconcile_lag=0.5, **more)


async def test_one_job_and_its_outcome(sandbox: Sandbox, tmp_path: Path) -> None:
    async with sender.open_session(settings(sandbox, tmp_path), api_key=KEY) as session:
        outcome = await session.send(email(1))
        bad = await session.send({"to": "x@example.com"})
        bare = await session.send(b'{"to":"a@example.com","transactional_message_id":3,"identifiers":{"id":"1"}}')
        again = await session.send(email(1))
    assert (outcome.status, outcome.id) == ("sent", "job-1")
    assert outcome.delivery_id in {message["delivery_id"] for message in sandbox.messages}
    assert (bad.status, bad.problems[0].code) == ("invalid", "missing_field")
    assert (bare.status, again.status) == ("sent", "duplicate")
    assert len(sandbox.messages) == 2
    assert [line["status"] for line in outcomes(tmp_path / "log")] == ["sent", "invalid", "sent", "duplicate"]


async def test_a_stream_in_and_outcomes_out_over_two_sessions(sandbox: Sandbox, tmp_path: Path) -> None:
    async def jobs() -> AsyncIterator[dict[str, Any]]:
        for number in range(60):
            yield email(number)
            if number == 30:
                await asyncio.sleep(0.2)

    async with sender.open_session(settings(sandbox, tmp_path), api_key=KEY) as session:
        first = [outcome async for outcome in session.send_all(jobs())]
    async with sender.open_session(settings(sandbox, tmp_path), api_key=KEY) as session:
        second = [outcome async for outcome in session.send_all(email(number) for number in range(70))]
    assert {outcome.status for outcome in first} == {"sent"}
    assert sorted(outcome.id or "" for outcome in first) == sorted(f"job-{number}" for number in range(60))
    assert [outcome.status for outcome in second].count("duplicate") == 60
    assert sorted(sandbox.numbers()) == list(range(70))


async def test_a_halt_reaches_whoever_waits(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(sender.HaltError, match="401"):
        async with sender.open_session(settings(sandbox, tmp_path, preflight=False), api_key="wrong") as session:
            await asyncio.gather(*(session.send(email(number)) for number in range(20)))
    assert sandbox.messages == []


async def test_a_wrong_key_is_told_before_anything_is_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(sender.UsageError, match="refuses the key"):
        async with sender.open_session(settings(sandbox, tmp_path), api_key="wrong"):
            raise AssertionError("the session must not open")


async def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(sender.UsageError, match="max_attempts"):
        async with sender.open_session(sender.Settings(max_attempts=0), api_key=KEY):
            raise AssertionError("the session must not open")


async def test_an_exception_in_the_program_leaves_jobs_in_hand_recorded(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with sender.open_session(settings(sandbox, tmp_path), api_key=KEY) as session:
            sending = [asyncio.create_task(session.send(email(number))) for number in range(30)]
            await sending[0]
            raise KeyError
    accepted = {f"job-{number}" for number in sandbox.numbers()}
    logged = {line["id"] for line in outcomes(tmp_path / "log") if line["status"] == "sent"}
    assert logged == accepted
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert all(isinstance(one, sender.HaltError | sender.Outcome) for one in results)


async def test_what_the_source_of_jobs_raises_is_raised(sandbox: Sandbox, tmp_path: Path) -> None:
    def jobs() -> Iterator[dict[str, Any]]:
        yield email(1)
        raise LookupError("the database is gone")

    async with sender.open_session(settings(sandbox, tmp_path), api_key=KEY) as session:
        with pytest.raises(LookupError, match="the database"):
            async for _ in session.send_all(jobs()):
                pass
