"""`sender copy`: every job arrives, whatever is killed, and none is sent twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from sender.consume.copying import file_ends, queue_ends
from sender.consume.copying.copying import copy
from sender.consume.copying.file_ends import FileTarget
from sender.errors import SenderError, UsageError
from sender.queues.address import parse_target
from sender.queues.message_identity import are_one
from sender.queues.publisher import Publisher
from sender.queues.queue_url import open_queue
from tests.support.fork_server import popen
from tests.support.messages import drain, read
from tests.support.processes import SENDER, email, environment

if TYPE_CHECKING:
    from pathlib import Path

EACH = ["postgres", "redis", "rabbit-quorum", "jetstream", "sqs"]
JOBS = [json.dumps(email(number)).encode() for number in range(40)]


def write(path: Path, jobs: list[bytes]) -> str:
    path.write_bytes(b"".join(job + b"\n" for job in jobs))
    return str(path)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_ends, "BATCH", 7)


@pytest.mark.parametrize("broker", EACH, indirect=True)
async def test_into_each_queue_and_out_of_it(broker: Any, tmp_path: Path) -> None:
    source, target = write(tmp_path / "jobs.jsonl", [*JOBS, b"not json"]), tmp_path / "out.jsonl"
    assert str(await copy(source, broker.url())) == "41 copied"
    assert str(await copy(source, broker.url())) == "0 copied", "it was copied before"
    assert str(await copy(broker.url(), str(target))) == "41 copied"
    assert sorted(lines_of(target)) == sorted([*JOBS, b"not json"])
    assert str(await copy(broker.url(), str(target))) == "0 copied"


@pytest.mark.parametrize("broker", EACH, indirect=True)
async def test_dead_letters_go_into_a_file(broker: Any, tmp_path: Path) -> None:
    sink = broker.sink()
    for number in range(3):
        await sink.put(JOBS[number], {"reason": "failed"}, f"who/{number}")
    assert (await copy(broker.sink_url(), str(tmp_path / "letters.jsonl"))).copied == 3
    assert sorted(lines_of(tmp_path / "letters.jsonl")) == sorted(JOBS[:3])
    assert await broker.letters() == []


@pytest.mark.parametrize("broker", ["postgres"], indirect=True)
async def test_a_message_keeps_its_identity_from_queue_to_queue(broker: Any) -> None:
    await broker.put(b'{"payload": {"to": "a@example.com"}}')
    (message,) = await read(broker.queue(), 1)
    await broker._open[-1].requeue([message])
    await copy(broker.url(), broker.sink_url())
    other = open_queue(broker.sink_url())
    (copied,) = await drain(other, 1)
    await other.aclose()
    assert (copied.identity, copied.data) == (message.identity, message.data)
    async with broker.client() as client:
        assert await client.fetchval(f"SELECT status FROM {broker.name}") == "moved"


@pytest.mark.parametrize("broker", ["postgres"], indirect=True)
async def test_a_line_without_an_id_is_known_by_its_content_in_the_queue_too(broker: Any, tmp_path: Path) -> None:
    await copy(write(tmp_path / "jobs.jsonl", [b'{"to": "a@example.com"}', JOBS[0]]), broker.url())
    bare, named = await read(broker.queue(), 2)
    assert bare.identity is None
    assert broker.name in named.identity


async def test_rows_become_jobs_by_a_mapping_and_those_that_do_not_are_left(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("no,total\n1,1.5\n2,much\n3,2.5\n")
    (tmp_path / "map.json").write_text(json.dumps({"id": "{{no}}", "payload": {"message_data": "{{total:float}}"}}))
    found = await copy(str(tmp_path / "orders.csv"), str(tmp_path / "jobs.jsonl"), str(tmp_path / "map.json"))
    assert str(found) == "2 copied, 1 left"
    assert [json.loads(line) for line in lines_of(tmp_path / "jobs.jsonl")] == [
        {"id": number, "payload": {"message_data": total}} for number, total in (("1", 1.5), ("3", 2.5))
    ]


class Cut(Exception):  # noqa: N818 - said as it is meant
    """As by kill -9."""


@pytest.mark.parametrize("place", ["before the note", "after the note", "in the middle", "before it is done"])
async def test_a_file_gets_each_line_once_wherever_a_run_is_cut(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write(tmp_path / "jobs.jsonl", JOBS), tmp_path / "out.jsonl"
    for cut_at in (1, 2, 3):
        count = [0]

        def counted(count: list[int] = count, cut_at: int = cut_at) -> None:
            count[0] += 1
            if count[0] >= cut_at:
                raise Cut

        with monkeypatch.context() as patch:
            cut(patch, place, counted)
            with pytest.raises(Cut):
                await copy(source, str(target))
    await copy(source, str(target))
    assert lines_of(target) == JOBS


def cut(patch: pytest.MonkeyPatch, place: str, counted: Any) -> None:
    whole = file_ends._write_at
    if place == "in the middle":
        def write_some(handle: int, data: bytes, at: int) -> None:
            whole(handle, data[: len(data) // 2], at)
            counted()
            whole(handle, data, at)

        patch.setattr(file_ends, "_write_at", write_some)
    elif place == "after the note":
        def write_none(handle: int, data: bytes, at: int) -> None:
            counted()
            whole(handle, data, at)

        patch.setattr(file_ends, "_write_at", write_none)
    elif place == "before the note":
        append = FileTarget._append

        def append_none(self: FileTarget, new: Any) -> None:
            counted()
            append(self, new)

        patch.setattr(FileTarget, "_append", append_none)
    else:
        done = file_ends.FileSource.done

        async def not_done(self: Any, copies: Any) -> None:
            counted()
            await done(self, copies)

        patch.setattr(file_ends.FileSource, "done", not_done)


@pytest.mark.parametrize("broker", ["postgres", "redis"], indirect=True)
async def test_out_of_a_queue_each_line_once_though_it_was_not_acknowledged(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.put(*JOBS)
    target = tmp_path / "out.jsonl"
    kind = type(broker.queue())
    with monkeypatch.context() as patch:
        async def die(self: Any, messages: Any) -> None:
            raise Cut

        patch.setattr(kind, "ack", die)
        with pytest.raises(Cut):
            await copy(broker.url(), str(target))
    result = await copy(broker.url(), str(target))  # the first was closed, and gave back what it had
    assert sorted(lines_of(target)) == sorted(JOBS)
    assert (result.copied, result.known) == (0, 40)


async def test_a_queue_that_takes_nothing_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "jobs.jsonl", JOBS)
    put: list[bytes] = []

    async def opened(self: Any) -> None:
        return

    async def take(self: Any, jobs: Any) -> None:
        if len(put) == 14:
            raise Cut
        put.extend(line for line, _ in jobs)

    monkeypatch.setattr(Publisher, "open", opened)
    monkeypatch.setattr(Publisher, "copy", take)
    with pytest.raises(Cut):
        await copy(source, "redis://127.0.0.1:1/0?stream=jobs")
    put.append(b"")
    await copy(source, "redis://127.0.0.1:1/0?stream=jobs")
    assert put == [*JOBS[:14], b"", *JOBS[14:]]


async def test_what_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    source, target = write(tmp_path / "jobs.jsonl", JOBS), tmp_path / "out.jsonl"
    target.write_bytes(b"mine\n")
    with pytest.raises(UsageError, match="is there already"):
        await copy(source, str(target))
    assert target.read_bytes() == b"mine\n"
    other = tmp_path / "other.jsonl"
    await copy(source, str(other))
    with other.open("ab") as file:
        file.write(b"more\n")
    with pytest.raises(UsageError, match="was changed"):
        await copy(source, str(other))
    assert other.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("source", "target"), [
    ("no-such-file", "out"), ("redis://h/0?steam=x", "out"), ("kafka+x://h", "out"), ("same", "same"),
    ("postgres://u:s3cret@127.0.0.1:1/x?table=A", "out"),
])
async def test_wrong_ends_are_told(source: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SenderError) as caught:
        await copy(source, target)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("broker", ["postgres"], indirect=True)
async def test_what_others_have_in_hand_is_told(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed held 500 messages, and the next one said that all was copied."""
    monkeypatch.setattr(queue_ends, "RETURN_AFTER", 0.5)
    monkeypatch.setattr(queue_ends, "PATIENCE", 0.5)
    await broker.put(*JOBS)
    held = await read(broker.queue(return_after=30.0), 3)
    assert str(await copy(broker.url(), str(tmp_path / "out.jsonl"))) == "37 copied, 3 left"
    assert len(held) == 3


@pytest.mark.parametrize("broker", ["postgres"], indirect=True)
async def test_kill_9_in_the_middle_and_again(broker: Any, tmp_path: Path) -> None:
    """Into the outbox, and out of it: nothing is lost, and nothing is there under two identities."""
    jobs = [json.dumps(email(number)).encode() for number in range(6000)]
    source, target = write(tmp_path / "jobs.jsonl", jobs), tmp_path / "out.jsonl"
    there, back = (source, broker.url()), (broker.url(), str(target))
    async with broker.client() as client:
        async def copied() -> int:
            return int(await client.fetchval(f"SELECT count(*) FROM {broker.name}"))

        async def moved() -> int:
            return int(await client.fetchval(f"SELECT count(*) FROM {broker.name} WHERE status = 'moved'"))

        for ends, how_many in ((there, copied), (back, moved)):
            process = start(*ends)
            until = time.monotonic() + 30
            while await how_many() < 1000:
                assert time.monotonic() < until
                await asyncio.sleep(0.01)
            process.kill()
            process.wait()
            await client.execute(f"UPDATE {broker.name}_readers SET until = now()")  # as if 20 s had passed
            again = start(*ends)
            assert await asyncio.to_thread(again.wait, 60) == 0
    found = lines_of(target)
    assert set(found) == set(jobs)
    assert len(found) <= len(jobs) + 500, "the last batch into the queue, under the same ids"


@pytest.mark.parametrize(("one", "other", "same"), [
    ("postgres://u:x@127.0.0.1/db", "postgresql://localhost:5432/db?table=public.sender_outbox&priority=low", True),
    ("postgres://a,b/db", "postgres://b:5432/db?name=eu", True), ("postgres://a/db", "postgres://a/other", False),
    ("postgres://a/db?table=shop.mail", "postgres://a/db?table=mail", False),
    ("postgres://a/db", "postgres://b/db", False),
    ("postgres:///db?host=/run/postgresql", "postgres://localhost/db", True),
    ("redis://a?stream=s&group=g", "redis://a:6379/0?stream=s&maxlen=9", True),
    ("redis://a/1?stream=s", "redis://a/0?stream=s", False), ("kafka://a/t?group=g", "kafka://A:9092/t", True),
    ("amqp://a/v?queue=q", "amqps://a:5672/v?queue=q", True), ("sqs://eu-west-1/a", "sqs://eu-west-1/b", False),
])
def test_a_queue_is_known_by_any_spelling(one: str, other: str, same: bool) -> None:
    """It was copied to itself without an end."""
    assert are_one(parse_target(one), parse_target(other)) is same


async def test_nothing_is_copied_to_itself() -> None:
    with pytest.raises(UsageError, match="cannot be copied to itself"):
        await copy("postgres://127.0.0.1/shop?table=sender_outbox", "postgresql://localhost:5432/shop")
    wrong = "postgres://h/shop?password=s3cret"
    with pytest.raises(UsageError, match=r"no parameter password|password") as caught:
        await copy(wrong, wrong)
    assert "s3cret" not in str(caught.value)


def start(*ends: str) -> subprocess.Popen[bytes]:
    return popen([*SENDER, "copy", *ends], env=environment(), stdout=subprocess.DEVNULL)
