"""`sender follow` by lists: against the sandbox, and against an API that lies."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sender.engine.api_clock import ApiClock
from sender.engine.api_reader import ApiReader
from sender.engine.pacing.pacer import Pacer
from sender.errors import HaltError, OutputError, UsageError
from sender.follow.deliveries import Deliveries
from sender.follow.delivery import Delivery
from sender.follow.delivery_log import beside, read_deliveries
from sender.follow.follow_run import follow_lists
from sender.follow.followed_run import open_run
from sender.follow.following import Following
from sender.follow.news import News, Reason
from sender.follow.until import Until
from tests.support.listing_api import Api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.virtual_time import VirtualLoop

HOST = "api.example"
BEGIN = 1_800_000_000


def outcome(number: int, **more: Any) -> dict[str, Any]:
    known = {"id": f"job-{number}", "kind": "email", "status": "sent", "delivery_id": f"d{number}",
             "queued_at": BEGIN + number // 100, "source": "jobs.jsonl", "line": number}
    return known | more


def write_log(folder: Path, outcomes: list[dict[str, Any]], name: str = "jobs.outcomes.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in outcomes))
    return path


def listed(number: int, **metrics: int) -> dict[str, Any]:
    return {"id": f"d{number}", "type": "email", "recipient": f"p{number}@example.com", "subject": "Hello",
            "created": BEGIN + number // 100, "metrics": {"created": BEGIN, **metrics}, "failure_message": None}


class Messages(Api):
    """Lists that page, and single deliveries."""

    def __init__(self, entries: list[dict[str, Any]], hidden: list[dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.clock = lambda: BEGIN + 100_000.0
        self.entries = entries
        self.created = [one["created"] for one in entries]
        self.documents = {"/v1/messages": self.page}
        for one in (*entries, *(hidden or ())):
            self.documents[f"/v1/messages/{one['id']}"] = {"message": one}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        start, end, at = int(query["start_ts"]), int(query["end_ts"]), int(query.get("start", "0"))
        first, last = bisect_left(self.created, start), bisect_right(self.created, end)
        found = self.entries[first:last]
        page = found[at : at + int(query["limit"])]
        return {"messages": page or None, "next": str(at + len(page)) if at + len(page) < len(found) else ""}

    @property
    def lists(self) -> int:
        return sum(path.startswith("/v1/messages?") for path in self.asked)

    @property
    def singles(self) -> int:
        return sum(path.startswith("/v1/messages/") for path in self.asked)


@asynccontextmanager
async def following(*paths: Path) -> AsyncIterator[Following]:
    one = await Following.open([open_run(path, HOST) for path in paths])
    try:
        yield one
    finally:
        await one.aclose()


def reader_of(api: Any) -> ApiReader:
    reader = ApiReader(api, Pacer(10.0), ApiClock(api.clock))
    reader.take_half()
    return reader


def follow(
    loop: VirtualLoop, path: Path, api: Any, until: str = "", seconds: float = 0.0
) -> tuple[bool, dict[str, Any], float]:
    async def body() -> tuple[bool, dict[str, Any], float]:
        async with following(path) as work:
            began = loop.time()
            holds = await follow_lists(work, reader_of(api), Until.parse(until), seconds, 60.0)
            assert work.books.check()
            return holds, work.books.summary(), loop.time() - began

    return loop.run_until_complete(body())


def test_many_by_few_lists_within_half_of_the_rate(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(12_000)])
    api = Messages([listed(n, sent=BEGIN + 1, delivered=BEGIN + 2) for n in range(12_000)])
    holds, books, took = follow(virtual, path, api, "open<1%")
    assert holds
    assert (books["sent"], books["delivered"], books["open"]) == (12_000, 12_000, 0)
    assert (api.lists, api.singles) == (14, 0)
    assert took <= 2.8, "fourteen requests at five a second: 100,000 take some 22 s"
    lines = list(read_deliveries(beside(path)))
    assert len(lines) == 12_000
    assert lines[0].keys() == {
        "delivery_id", "id", "kind", "fate", "metric", "at", "accepted_at", "bounce", "code", "reason", "domain",
        "metrics", "seen_at", "by"}


def test_only_the_rest_is_asked_for_one_by_one(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(3_000)])
    shown = [listed(n, delivered=BEGIN + 2) for n in range(2_998)]
    api = Messages(shown, hidden=[listed(2_998, bounced=BEGIN + 9)])
    holds, books, _ = follow(virtual, path, api, "open<=0", 600.0)
    assert not holds
    assert (books["delivered"], books["bounced"], books["open"]) == (2_998, 1, 1)
    assert set(api.asked[3:]) >= {"/v1/messages/d2998", "/v1/messages/d2999"}


def test_it_goes_on_where_it_stopped_and_writes_nothing_twice(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(10)])
    entries = [listed(n, delivered=BEGIN + 2) for n in range(5)] + [listed(n, sent=BEGIN + 1) for n in range(5, 10)]
    _, before, _ = follow(virtual, path, Messages(entries))
    assert (before["delivered"], before["open"]) == (5, 5)
    size = beside(path).stat().st_size
    with beside(path).open("ab") as file:
        file.write(b'{"delivery_id":"d5","fate":"bou')  # a kill -9 in the middle of a line
    _, again, _ = follow(virtual, path, Messages(entries))
    assert again == before
    assert beside(path).stat().st_size == size, "cut off, and nothing written anew"
    entries[9]["metrics"]["bounced"] = BEGIN + 50
    entries[9]["failure_message"] = "550 5.1.1 <p9@example.com> is nobody"
    _, later, _ = follow(virtual, path, Messages(entries))
    assert (later["bounced"], later["bounces"]["hard"], later["open"]) == (1, 1, 4)
    last = list(read_deliveries(beside(path)))[-1]
    assert (last["delivery_id"], last["fate"], last["bounce"], last["code"]) == ("d9", "bounced", "hard", "5.1.1")
    assert "p9" not in beside(path).read_text()


def test_a_run_that_still_sends_is_followed_on(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(3)])
    api = Messages([listed(n, delivered=BEGIN + 2) for n in range(5)])
    ask = api.page

    def page(query: dict[str, str]) -> dict[str, Any]:
        with path.open("a") as file:
            file.writelines(json.dumps(outcome(n)) + "\n" for n in (3, 4))
            file.write('{"id":"torn","sta')
        api.documents["/v1/messages"] = ask
        return ask(query)

    api.documents["/v1/messages"] = page
    holds, books, _ = follow(virtual, path, api, "open<1%", 600.0)
    assert holds
    assert books["delivered"] == 5


def test_the_end_of_the_time_reads_everything_once_more(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(10)])
    entries = [listed(n, delivered=BEGIN + 2) for n in range(10)]
    api = Messages(entries)
    virtual.call_later(100, lambda: entries[3]["metrics"].update(bounced=BEGIN + 99))
    virtual.call_later(100, lambda: entries[4]["metrics"].update(opened=BEGIN + 99))
    holds, books, took = follow(virtual, path, api, "", 600.0)
    assert holds, "no rule was given"
    assert took >= 600
    assert (books["delivered"], books["bounced"], books["opened"]) == (9, 1, 1)
    assert api.lists < 10


@pytest.mark.parametrize("answer", [
    {"messages": {"d0": 1}}, {"messages": "many"}, {"next": "7"}, 500, 404, {"messages": [7, None, [[]], {"id": []}]},
    {"messages": [{"id": "d0", "metrics": {"delivered": "yesterday"}}]}, {"messages": None, "next": 0},
])
def test_a_lying_list_closes_nothing(virtual: VirtualLoop, tmp_path: Path, answer: Any) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(20)])
    api = Messages([])
    api.documents["/v1/messages"] = answer
    _, books, _ = follow(virtual, path, api, "", 30.0)
    assert (books["sent"], books["open"]) == (20, 20)


def test_a_list_that_does_not_end_ends_all_the_same(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(20)])
    api = Messages([])
    api.documents["/v1/messages"] = {"messages": [listed(3, delivered=BEGIN)], "next": "again"}
    _, books, _ = follow(virtual, path, api)
    assert (books["delivered"], books["open"]) == (1, 19)
    assert api.lists == 1000


def test_a_key_that_may_not_read_any_more_ends_it(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(20)])
    api = Messages([])
    api.documents["/v1/messages"] = 403
    with pytest.raises(HaltError, match="may not read"):
        follow(virtual, path, api, "", math.inf)


def test_what_has_no_delivery_is_told_and_not_followed(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [
        outcome(1), outcome(1), outcome(2, status="rejected"), outcome(3, kind="broadcast", delivery_id=None),
        outcome(4, delivery_id=None), outcome(5, delivery_id=None), outcome(5),
    ])
    _, books, _ = follow(virtual, path, Messages([]))
    assert (books["sent"], books["unnamed"]) == (2, 2)


def test_times_nobody_told_are_learned_from_the_lists(virtual: VirtualLoop, tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(n, queued_at=None) for n in range(2_000)])
    api = Messages([listed(n, delivered=BEGIN + 2) for n in range(2_000)])
    holds, books, _ = follow(virtual, path, api, "open<1%", 60.0)
    assert holds
    assert books["delivered"] == 2_000
    assert (api.lists, api.singles) == (2, 0)


def test_a_full_disk_counts_nothing(virtual: VirtualLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_log(tmp_path, [outcome(n) for n in range(20)])
    api = Messages([listed(n, delivered=BEGIN + 2) for n in range(20)])

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("sender.outcomes.outcome_log.os.write", full)
        with pytest.raises(OutputError, match=r"deliveries file .*\(No space left"):
            follow(virtual, path, api)
    assert beside(path).stat().st_size == 0
    _, books, _ = follow(virtual, path, api)
    assert books["delivered"] == 20


def test_no_room_for_temporary_files_is_told_and_counts_nothing() -> None:
    """It ended as a fault of sender itself."""
    deliveries = Deliveries()
    deliveries.add(0, [Delivery("first", None, "email", 1.0)])
    pages = deliveries._db.execute("PRAGMA page_count").fetchone()[0]
    deliveries._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="make room where TMPDIR points"):
        deliveries.add(0, [Delivery(f"d{n}", "x" * 100, "email", 1.0) for n in range(1000)])
    assert (len(deliveries), list(deliveries.find(["first", "d1"]))) == (1, ["first"])
    first = deliveries.find(["first"])["first"].delivery
    long = first.told(News("first", {"delivered": 1}, {"delivered": Reason(None, "x" * 30_000)}))
    with pytest.raises(OutputError):
        deliveries.put([(first, long)])
    assert deliveries.books.fates["open"] == 1
    assert deliveries.find(["first"])["first"].delivery == first
    deliveries.close()


async def test_a_log_that_is_another_one_by_now_is_told(tmp_path: Path) -> None:
    """One of at least the same size was read on from its middle."""
    path = write_log(tmp_path, [outcome(n) for n in range(20)])
    run = open_run(path, HOST)
    assert len(run.read()) == 20
    path.rename(tmp_path / "old.jsonl")
    with pytest.raises(HaltError, match="cannot be read: No such file"):
        run.read()
    write_log(tmp_path, [outcome(n) for n in range(100, 140)])
    with pytest.raises(HaltError, match="is another one by now"):
        run.read()


def test_a_line_that_is_too_long_does_not_hide_those_behind_it(tmp_path: Path) -> None:
    path = write_log(tmp_path, [outcome(1), outcome(2, message="x" * 3_000_000), outcome(3)])
    run = open_run(path, HOST)
    assert [one.id for one in (*run.read(), *run.read())] == ["d1", "d3"]


@pytest.mark.parametrize("queued_at", [1_795_219_200_000, 1 << 80, True, "now", -1])
def test_a_time_that_cannot_be_is_not_the_apis(tmp_path: Path, queued_at: Any) -> None:
    odd = outcome(1, queued_at=queued_at, written_at="2026-11-20T12:00:00.000Z")
    (found,) = open_run(write_log(tmp_path, [odd]), HOST).read()
    assert found.accepted_at == 1_795_176_000.0
    assert b"2026-11-20T12:00:00.000Z" in found.to_line(1.0, "list")


async def test_files_that_are_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        open_run(tmp_path / "nothing", HOST)
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"to":"ada@example.com"}\n')
    with pytest.raises(UsageError, match="no outcome log"):
        open_run(jobs, HOST)
    path = write_log(tmp_path, [outcome(1)])
    with pytest.raises(UsageError, match="same deliveries file"):
        await Following.open([open_run(path, HOST), open_run(path, HOST)])
    async with following(path):
        with pytest.raises(UsageError, match="in use by another run"):
            await Following.open([open_run(path, HOST)])
