"""What the ledger on disk keeps from one run to the next, and takes over from another one."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from sender.errors import OutputError, UsageError
from sender.jobs.sent_block import SentBlock
from sender.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord, recent_jobs
from sender.ledger.ledger_view import LedgerView, StoredJob
from sender.ledger.sqlite_ledger import PAGE, SqliteLedger

if TYPE_CHECKING:
    from pathlib import Path

API = "api"


def handed(key: str, content: str = "c") -> HandOverRecord:
    return HandOverRecord(key, content, b'{"id":"%s"}' % key.encode())


def final(key: str, state: Any = "sent", **more: Any) -> FinalRecord:
    return FinalRecord(key, "c", state, b"%s\n" % key.encode(), **more)


async def finish(ledger: SqliteLedger, *records: FinalRecord) -> int:
    return await ledger.finish(records)


async def all_doubts(ledger: SqliteLedger, **more: Any) -> list[Doubt]:
    return [doubt async for doubt in ledger.doubts(**more)]


async def test_what_another_memory_left_handed_over_is_in_doubt(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    jobs = [
        StoredJob("a", "c", "handed_over", 1, None, '{"id":"a"}'), StoredJob("b", "c", "sent", 0, "d1", None),
        StoredJob("c", "c", "failed", 1, None, None),
    ]
    assert await ledger.adopt(jobs) == 3
    assert await ledger.adopt(jobs) == 1, "what failed stays open to what another memory knows"
    assert await ledger.find(["a", "b", "c"]) == {
        "a": JobRecord("in_doubt", "c", 0), "b": JobRecord("sent", "c", 0, resendable=False, result="d1"),
        "c": JobRecord("failed", "c", 0),
    }
    assert await all_doubts(ledger) == [Doubt("a", "c", "in_doubt", b'{"id":"a"}', True)]
    assert await ledger.known_results(["d1", "d2"]) == {"d1"}
    assert await ledger.count() == {"in_doubt": 1, "sent": 1, "failed": 1}
    await ledger.close()


async def test_doubts_say_all_that_reconcile_needs(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await finish(ledger, final("a", "in_doubt", detail=b'{"n":1}', resendable=False), final("b", "in_doubt"))
    assert await all_doubts(ledger) == [
        Doubt("a", "c", "in_doubt", b'{"n":1}', False), Doubt("b", "c", "in_doubt", b"{}", True),
    ]
    await ledger.hand_over([handed("d", "x"), handed("c")])
    await ledger.close()
    second = await SqliteLedger.open(tmp_path / "l", API)
    assert await all_doubts(second, earlier_runs_handed_over=True) == [
        Doubt("c", "c", "handed_over", b'{"id":"c"}', True), Doubt("d", "x", "handed_over", b'{"id":"d"}', True),
    ]
    assert len(await all_doubts(second)) == 2
    await second.close()


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
async def test_each_doubt_comes_once(tmp_path: Path, count: int) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    keys = [f"{number:05}" for number in range(count)]
    await finish(ledger, *(final(key, "in_doubt") for key in keys))
    assert [doubt.key for doubt in await all_doubts(ledger)] == keys
    await ledger.close()


async def test_a_run_of_its_own_number_and_what_it_finds(tmp_path: Path) -> None:
    first = await SqliteLedger.open(tmp_path / "l", API)
    assert (first.run, first.was_clean, first.last_hand_over) == (1, True, None)
    await first.hand_over([handed("a")])
    await finish(first, final("b", resendable=False))
    assert await first.find(["a", "b"]) == {
        "a": JobRecord("handed_over", "c", 1), "b": JobRecord("sent", "c", 1, resendable=False),
    }
    await first._commits.close()  # as when it is killed
    os.close(first._lock)
    second = await SqliteLedger.open(tmp_path / "l", None)
    assert (second.run, second.was_clean) == (2, False)
    assert second.last_hand_over is not None
    await second.release(["a"])
    assert (await second.find(["a"]))["a"].run == 1, "an earlier run's hand-over is not this one's to take back"
    await second.close()
    third = await SqliteLedger.open(tmp_path / "l", API)
    assert (third.run, third.was_clean) == (3, True)
    await third.close()


async def test_the_outbox_is_emptied_with_the_next_write_and_never_filled_again(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    last = await finish(ledger, final("a"), final("b"), final("c"))
    await ledger.logged(last - 1)
    await ledger.logged(1)
    assert len(await ledger.unlogged()) == 3, "nothing was written since"
    await ledger.put_note("n", b"1")
    assert await ledger.unlogged() == [b"c\n"]
    await ledger.close()


async def test_a_name_that_is_bound_stays(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await ledger.bind_workspace("7")
    await ledger.close()
    again = await SqliteLedger.open(tmp_path / "l", API)
    with pytest.raises(UsageError, match=r"this key to 8: use the other key, or another --ledger$") as caught:
        await again.bind_workspace("8")
    assert str(tmp_path / "l") in str(caught.value)
    assert await again.get_note("workspace") == b"7"
    await again.close()


async def test_a_ledger_that_cannot_be_written_any_more_is_closed_all_the_same(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    ledger._commits.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(OutputError, match="cannot be written"):
        await ledger.put_note("n", b"1")
    await asyncio.wait_for(ledger.close(), 10)
    again = await SqliteLedger.open(tmp_path / "l", API)
    assert not again.was_clean
    await again.close()


VERSION_2 = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, content TEXT NOT NULL, run INTEGER NOT NULL,
    resendable INTEGER NOT NULL DEFAULT 1, result TEXT, detail TEXT
) WITHOUT ROWID;
CREATE INDEX doubts ON jobs (key) WHERE state = 'in_doubt';
CREATE TABLE held (key TEXT PRIMARY KEY, content TEXT NOT NULL, run INTEGER NOT NULL, detail TEXT) WITHOUT ROWID;
CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL);
CREATE TABLE tally (state TEXT PRIMARY KEY, jobs INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('host', 'api'), ('run', '4'), ('clean', '0'), ('last_hand_over', '1800000000.5');
INSERT INTO jobs (key, state, content, run, result) VALUES ('a', 'sent', 'c', 3, 'd1'), ('b', 'in_doubt', 'c', 4, NULL);
INSERT INTO held VALUES ('h', 'x', 4, '{"id":"h"}');
INSERT INTO outbox (seq, line) VALUES (7, 'l' || char(10));
INSERT INTO tally VALUES ('sent', 1), ('in_doubt', 1);
PRAGMA user_version = 2;
"""


async def test_a_ledger_of_the_version_without_a_journal_is_read_and_goes_on(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "l")) as db:
        db.executescript(VERSION_2)
    before = {
        "a": JobRecord("sent", "c", 3, result="d1"), "b": JobRecord("in_doubt", "c", 4),
        "h": JobRecord("handed_over", "x", 4),
    }
    with closing(LedgerView.open(tmp_path / "l")) as view:
        assert view.find(["a", "b", "h", "n"]) == before
        assert {doubt.key for doubt in view.doubts()} == {"b", "h"}
        assert [one.key for one in view.jobs()] == ["a", "b", "h"]
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    assert (ledger.run, ledger.was_clean, ledger.last_hand_over) == (5, False, 1800000000.5)
    assert await ledger.find(["a", "b", "h", "n"]) == before
    assert await ledger.count() == {"sent": 1, "in_doubt": 1, "handed_over": 1}
    assert await ledger.unlogged() == [b"l\n"]
    await ledger.logged(await ledger.last_seq())
    assert [doubt.key for doubt in await all_doubts(ledger, earlier_runs_handed_over=True)] == ["h"]
    await finish(ledger, final("h", "in_doubt", detail=b"{}"))
    await ledger.hand_over([handed("n")])
    assert await finish(ledger, final("n")) > 7
    assert await ledger.unlogged() == [b"h\n", b"n\n"]
    assert await ledger.count() == {"sent": 2, "in_doubt": 2}
    await ledger.close()


async def test_who_looks_into_the_file_of_a_run_sees_what_it_was_told(tmp_path: Path) -> None:
    """Between two folds, and after one."""
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await finish(ledger, final("old", "in_doubt", detail=b"{}"), final("failed", "failed"))
    await ledger.count()
    await ledger.hand_over([handed("h"), handed("s"), handed("back"), handed("old"), handed("failed")])
    await ledger.release(["back", "failed"])
    await finish(ledger, final("s", result="d1"))
    for _ in range(2):
        with closing(LedgerView.open(tmp_path / "l")) as view:
            keys = ["h", "s", "back", "old", "failed"]
            assert {key: one.state for key, one in view.find(keys).items()} == {
                "h": "handed_over", "s": "sent", "old": "handed_over", "failed": "failed",
            }
            assert view.find(keys) == await ledger.find(keys)
            assert view.known_results(["d1", "d2"]) == {"d1"}
            assert {doubt.key for doubt in view.doubts() if doubt.state == "handed_over"} == {"h", "old"}
            assert sorted(one.key for one in view.jobs()) == ["failed", "h", "old", "old", "s"]
        assert await ledger.count() == {"handed_over": 2, "sent": 1, "failed": 1}
    await ledger.close()


async def test_jobs_that_go_again_and_again_fill_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage nothing ends, and each try is handed over and taken back."""
    monkeypatch.setattr(recent_jobs, "MOST_TAKEN_BACK", 10)
    ledger = await SqliteLedger.open(tmp_path / "l", API, durability="off")
    for number in range(100):
        await ledger.hand_over([handed("a"), handed("b")])
        await ledger.release(["a"] if number % 2 else ["a", "b"])
    assert await rows_of(ledger, "journal") < 20
    assert await ledger.count() == {"handed_over": 1}
    await ledger.close()


async def test_nothing_of_a_person_is_left_when_the_run_is_over(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await ledger.hand_over([HandOverRecord("a", "c", b'{"to":"ada@example.com"}')])
    await finish(ledger, final("a"))
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "l")) as db:
        assert not [line for line in db.iterdump() if "ada@" in line]


async def test_ends_are_folded_when_they_are_many_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await finish(ledger, final("a"), final("b"))
    assert await rows_of(ledger, "jobs") == 0
    with monkeypatch.context() as soon:
        soon.setattr(recent_jobs, "LONGEST", 0.0)
        await finish(ledger, final("c"))
    assert await rows_of(ledger, "jobs") == 3
    ledger._recent._most = 2
    await finish(ledger, final("d"))
    assert await rows_of(ledger, "jobs") == 3
    await finish(ledger, final("a", "failed"), final("e"))
    assert await rows_of(ledger, "jobs") == 5
    assert await ledger.count() == {"sent": 4, "failed": 1}
    await ledger.close()


async def rows_of(ledger: SqliteLedger, table: str) -> int:
    return int(await ledger._commits.read(lambda db: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def test_blocks_are_those_of_earlier_runs_until_a_job_is_sent_no_longer(tmp_path: Path) -> None:
    first = await SqliteLedger.open(tmp_path / "l", API)
    await finish(first, final("a"), final("b", "failed"))
    some, whole = SentBlock(b"d", 0b101, 1), SentBlock(b"d", 0b111, 0)
    await first.put_sent_blocks([some])
    assert await first.sent_block(b"d") is None, "what this run sent is a duplicate of this run"
    await first.close()
    second = await SqliteLedger.open(tmp_path / "l", API)
    assert await second.sent_block(b"d") == some
    assert await second.sent_block(b"e") is None
    await second.put_sent_blocks([whole])
    await second.put_sent_blocks([some])
    await finish(second, final("b"))
    await second.close()
    third = await SqliteLedger.open(tmp_path / "l", API)
    assert await third.sent_block(b"d") == whole, "the fuller note stands"
    await finish(third, final("a", "failed"))
    await third.count()
    assert await third.sent_block(b"d") is None
    await third.close()


async def test_a_commit_asks_nothing_of_lines_while_the_log_has_taken_none(tmp_path: Path) -> None:
    """Every commit deleted the lines that the log had, and looked how many it had before, though none had come."""
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    ran: list[str] = []
    await ledger.logged(await finish(ledger, final("a")))
    await ledger.hand_over([handed("b")])
    assert await ledger.unlogged() == []
    ledger._commits.connection.set_trace_callback(ran.append)
    await ledger.hand_over([handed("c")])
    assert [sql.split()[0] for sql in ran] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
    await ledger.logged(await finish(ledger, final("b"), final("c")))
    await ledger.hand_over([handed("d")])
    assert await ledger.unlogged() == []
    ledger._commits.connection.set_trace_callback(None)
    await ledger.close()
