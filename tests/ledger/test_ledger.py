"""One contract for every ledger, the promises of the one on disk, and a model of its states."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from sender.errors import OutputError, UsageError
from sender.ledger.ledger_view import LedgerView
from sender.ledger.recent_jobs import MOST
from sender.ledger.record_detail import with_error
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.shared_state.shared_ledger import SharedLedger
from sender.shared_state.state_url import open_state
from tests.support.ledgers import final, handed, state_of
from tests.support.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

API = "127.0.0.1:8025"


@pytest.fixture(params=["sqlite", "memory", "redis", "postgres"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param in ("redis", "postgres"):
        state = await open_state(request.getfixturevalue(f"{request.param}_server").url, host=API)
        yield state.ledger
        await state.close()
        return
    opened: Any = MemoryLedger() if request.param == "memory" else await SqliteLedger.open(tmp_path / "l", API)
    yield opened
    await opened.close()


async def test_life_of_a_job(ledger: Any) -> None:
    assert await ledger.find([]) == {}
    assert await state_of(ledger, "a") is None
    await ledger.hand_over([handed("a"), handed("b")])
    assert await state_of(ledger, "a") == "handed_over"
    await ledger.release(["a", "unknown"])
    assert await state_of(ledger, "a") is None
    await ledger.hand_over([handed("a")])
    await ledger.finish([final("a", result="d1"), final("b", "in_doubt", detail=b'{"id":"b"}')])
    assert await state_of(ledger, "a") == "sent"
    assert await ledger.known_results(["d1", "d2"]) == {"d1"}
    assert [doubt.key async for doubt in ledger.doubts()] == ["b"]
    assert await ledger.count() == {"sent": 1, "in_doubt": 1}
    await ledger.finish([final("b", "sent", result="d2")])
    assert [doubt.key async for doubt in ledger.doubts()] == []
    assert await ledger.count() == {"sent": 2}


async def test_release_brings_back_what_stood_before(ledger: Any) -> None:
    await ledger.finish([final("a", "in_doubt", detail=b"{}", resendable=False), final("b", "failed")])
    await ledger.hand_over([handed("a", "new"), handed("b", "new")])
    await ledger.release(["a", "b"])
    found = await ledger.find(["a", "b"])
    assert (found["a"].state, found["a"].content, found["a"].resendable) == ("in_doubt", "c", False)
    assert found["b"].state == "failed"
    await ledger.release(["a"])
    assert await state_of(ledger, "a") == "in_doubt"


async def test_outbox(ledger: Any) -> None:
    last = await ledger.finish([final("a"), final("b")])
    assert await ledger.last_seq() == last
    assert len(await ledger.unlogged()) == 2
    await ledger.logged(last)
    later = await ledger.finish([final("c")])
    assert later > last
    assert await ledger.unlogged() == [b'{"id":"c"}\n']


async def test_notes(ledger: Any) -> None:
    assert await ledger.get_note("x") is None
    await ledger.put_note("x", b"1")
    await ledger.put_note("x", b"2")
    assert await ledger.get_note("x") == b"2"


async def test_a_note_is_swapped_only_for_what_was_expected(ledger: Any) -> None:
    assert not await ledger.swap_note("x", b"1", b"2")
    assert await ledger.swap_note("x", None, b"1")
    assert not await ledger.swap_note("x", None, b"2")
    assert await ledger.swap_note("x", b"1", b"2")
    assert await ledger.get_note("x") == b"2"
    assert await ledger.swap_note("x", b"2", None)
    assert await ledger.get_note("x") is None


async def test_a_handed_over_job_keeps_its_known_result(ledger: Any) -> None:
    await ledger.finish([final("a", "in_doubt", result="d1", detail=b"{}")])
    await ledger.finish([final("a", "sent")])
    assert await ledger.known_results(["d1"]) == {"d1"}


async def test_an_end_tells_its_result_and_its_error(ledger: Any) -> None:
    error = {"code": "api_error", "field": "to", "message": "no such person"}
    doubt = with_error(b'{"id":"d","to":"ada@example.com"}', error | {"problems": [error, error]})
    await ledger.finish([
        final("a", result="d1"), final("b", "rejected", detail=with_error(None, error)), final("c", "failed"),
        final("d", "in_doubt", detail=doubt),
    ])
    found = await ledger.find(["a", "b", "c", "d"])
    told = {key: (record.state, record.result, record.error) for key, record in found.items()}
    assert told == {
        "a": ("sent", "d1", None), "b": ("rejected", None, error), "c": ("failed", None, None),
        "d": ("in_doubt", None, error),
    }
    refused = await ledger.hand_over([handed("a")]) if isinstance(ledger, SharedLedger) else found
    assert refused["a"] == found["a"], "who is refused is told, too"
    await ledger.finish([final("d", result="d2")])
    settled = (await ledger.find(["d"]))["d"]
    assert (settled.result, settled.error) == ("d2", None)
    assert [doubt.key async for doubt in ledger.doubts()] == []


async def test_new_known_and_repeated_jobs_end_in_one_batch(ledger: Any) -> None:
    await ledger.finish([final("a", "failed"), final("b", "in_doubt", detail=b"{}")])
    await ledger.hand_over([handed("a"), handed("c")])
    await ledger.finish([
        final("a"), final("b", "failed"), final("b", result="d1"), final("c", "rejected"), final("d"),
        final("d", "failed"),
    ])
    found = await ledger.find(["a", "b", "c", "d"])
    assert {key: record.state for key, record in found.items()} == {
        "a": "sent", "b": "sent", "c": "rejected", "d": "failed",
    }
    assert await ledger.count() == {"sent": 2, "rejected": 1, "failed": 1}
    assert [doubt.key async for doubt in ledger.doubts()] == []
    assert await ledger.known_results(["d1"]) == {"d1"}


async def test_what_goes_again_is_in_doubt_no_longer(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await ledger.finish([final("a", "in_doubt", detail=b"{}"), final("b", "in_doubt", detail=b"{}")])
    await ledger.hand_over([handed("a")])
    assert [doubt.key async for doubt in ledger.doubts()] == ["b"]
    assert await ledger.count() == {"handed_over": 1, "in_doubt": 1}
    await ledger.release(["a"])
    assert [doubt.key async for doubt in ledger.doubts()] == ["a", "b"]
    await ledger.close()


async def test_a_run_alone_is_refused_nothing(ledger: Any) -> None:
    await ledger.finish([final("a", "failed"), final("b", "rejected"), final("c", "in_doubt", detail=b"{}")])
    assert set(await ledger.find(["a", "b", "c"])) == {"a", "b", "c"}
    assert await ledger.hand_over([handed("a"), handed("b"), handed("c"), handed("d")]) == {}
    assert await ledger.count() == {"handed_over": 4}


async def test_many_doubts_come_in_pages(ledger: Any) -> None:
    await ledger.finish([final(f"k{n:05d}", "in_doubt", detail=b"{}") for n in range(1201)])
    assert len([doubt async for doubt in ledger.doubts()]) == 1201


async def test_next_run_finds_what_was_left_handed_over(tmp_path: Path) -> None:
    first = await SqliteLedger.open(tmp_path / "l", API)
    await first.hand_over([handed("a")])
    await first.close()
    second = await SqliteLedger.open(tmp_path / "l", API)
    assert second.run == 2
    assert second.was_clean
    assert second.last_hand_over is not None
    assert [doubt.key async for doubt in second.doubts(earlier_runs_handed_over=True)] == ["a"]
    await second.hand_over([handed("b")])
    assert [doubt.key async for doubt in second.doubts(earlier_runs_handed_over=True)] == ["a"]
    await second.close()
    assert (tmp_path / "l").stat().st_mode & 0o777 == 0o600


async def test_a_clean_end_counts_as_the_last_write(tmp_path: Path) -> None:
    """A request may be written long after its hand-over, so the next run must not reckon from the hand-over."""
    first = await SqliteLedger.open(tmp_path / "l", API)
    await first.hand_over([handed("a")])
    await asyncio.sleep(0.1)
    ended = time.time()
    await first.close()
    second = await SqliteLedger.open(tmp_path / "l", API)
    assert second.last_hand_over is not None
    assert second.last_hand_over >= ended
    stamp = second.last_hand_over
    await second.close()
    third = await SqliteLedger.open(tmp_path / "l", API)
    assert third.last_hand_over == stamp, "a run that sent nothing holds nobody up"
    await third.close()


async def test_it_belongs_to_one_api_one_workspace_and_one_run(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await ledger.bind_workspace("7")
    await ledger.bind_workspace("7")
    with pytest.raises(UsageError, match="belongs to the workspace 7, this key to 8"):
        await ledger.bind_workspace("8")
    with pytest.raises(UsageError, match="in use by another run"):
        await SqliteLedger.open(tmp_path / "l", API)
    await ledger.close()
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:8025, this run goes to api\.customer\.io"):
        await SqliteLedger.open(tmp_path / "l", "api.customer.io")


@pytest.mark.parametrize("content", [b"this is no database" * 100, b""])
async def test_what_is_not_a_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "l").write_bytes(content)
    if not content:
        await (await SqliteLedger.open(tmp_path / "l", API)).close()
        return
    with pytest.raises(UsageError, match="cannot be used"):
        await SqliteLedger.open(tmp_path / "l", API)
    with pytest.raises(UsageError, match="No such file"):
        await SqliteLedger.open(tmp_path / "none" / "l", API)


async def test_a_full_disk_stops_everything(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await ledger.hand_over([handed("before")])
    ledger._commits.connection.execute("PRAGMA max_page_count = 20")
    with pytest.raises(OutputError, match="cannot be written"):
        for number in range(100):
            await ledger.hand_over([handed(f"k{number}-{n}") for n in range(100)])
    with pytest.raises(OutputError):
        await ledger.finish([final("before")])
    await ledger.close()
    again = await SqliteLedger.open(tmp_path / "l", API)
    assert await state_of(again, "before") == "handed_over"
    await again.close()


async def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "l", API)
    await asyncio.gather(*(ledger.hand_over([handed(f"k{n}")]) for n in range(200)))
    assert ledger._commits.commits < 50
    await ledger.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from sender.ledger import FinalRecord, HandOverRecord
from sender.ledger.sqlite_ledger import SqliteLedger
async def main():
    ledger = await SqliteLedger.open(Path(sys.argv[1]), "h")
    n = 0
    while True:
        keys = [f"{ledger.run}-{n + i}" for i in range(5)]
        await ledger.hand_over([HandOverRecord(key, "c", b"{}") for key in keys])
        print("\\n".join(f"H {key}" for key in keys), flush=True)
        await ledger.finish([FinalRecord(key, "c", "sent", b"{}\\n") for key in keys[:4]])
        print("\\n".join(f"S {key}" for key in keys[:4]), flush=True)
        n += 5
asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    told: dict[str, str] = {}
    for attempt in range(8):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "l")], stdout=subprocess.PIPE)
        assert process.stdout is not None
        begun = [process.stdout.readline() for _ in range(20)]
        time.sleep(attempt * 0.01)
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        for line in (b"".join(begun) + out).decode().splitlines():
            what, _, key = line.partition(" ")
            if key and (what == "S" or key not in told):
                told[key] = what
    assert len(told) > 50
    ledger = await SqliteLedger.open(tmp_path / "l", "h")
    assert not ledger.was_clean
    found = await ledger.find(list(told))
    for key, what in told.items():
        assert key in found
        assert what == "H" or found[key].state == "sent"
    await ledger.close()


class LedgerModel(RuleBasedStateMachine):
    """The ledger on disk against a dict, with crashes: what was awaited is never lost, nothing else appears."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.model: dict[str, tuple[str, tuple[str, Any] | None]] = {}
        self.outbox = 0
        self.ledger = self.run(SqliteLedger.open(self.path, API, durability="normal"))

    @property
    def path(self) -> Path:
        return self.folder / str(self.generation)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(target=keys, key=st.text("abc", min_size=1, max_size=2))
    def name(self, key: str) -> str:
        return key

    @rule(key=keys)
    def hand_over(self, key: str) -> None:
        before = self.model.get(key)
        if before is not None and before[0] == "handed_over":
            return
        self.run(self.ledger.hand_over([handed(key)]))
        self.model[key] = ("handed_over", before)

    @rule(key=keys)
    def release(self, key: str) -> None:
        self.run(self.ledger.release([key]))
        state, before = self.model.get(key, ("", None))
        if state != "handed_over":
            return
        if before is not None:
            self.model[key] = before
        elif self.handed_in_this_run(key):
            del self.model[key]

    def handed_in_this_run(self, key: str) -> bool:
        return key not in self.run(self.earlier())

    async def earlier(self) -> set[str]:
        return {doubt.key async for doubt in self.ledger.doubts(earlier_runs_handed_over=True)}

    @rule(key=keys, state=st.sampled_from(["sent", "rejected", "failed", "in_doubt"]))
    def settle(self, key: str, state: str) -> None:
        self.run(self.ledger.finish([final(key, state, detail=b"{}" if state == "in_doubt" else None)]))
        self.model[key] = (state, None)
        self.outbox += 1

    @rule()
    def log(self) -> None:
        self.run(self.ledger.logged(self.run(self.ledger.last_seq())))
        self.run(self.ledger.put_note("n", b"1"))
        self.outbox = 0

    @rule()
    def crash(self) -> None:
        """Copy the files as they stand, as a killed process leaves them, and go on with the copy."""
        old = self.path
        self.generation += 1
        for suffix in ("", "-wal"):
            if Path(f"{old}{suffix}").exists():
                shutil.copy(f"{old}{suffix}", f"{self.path}{suffix}")
        self.run(self.ledger.close())
        self.ledger = self.run(SqliteLedger.open(self.path, API, durability="normal"))

    @invariant()
    def same(self) -> None:
        found = self.run(self.ledger.find(["a", "b", "c", *(x + y for x in "abc" for y in "abc")]))
        assert {key: record.state for key, record in found.items()} == {
            key: state for key, (state, _) in self.model.items()
        }
        states = [state for state, _ in self.model.values()]
        assert self.run(self.ledger.count()) == {state: states.count(state) for state in set(states)}
        assert len(self.run(self.ledger.unlogged())) >= self.outbox

    def teardown(self) -> None:
        self.run(self.ledger.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


class JournalModel(LedgerModel):
    """The same, but what was changed stays in the journal for a while, or is folded with the next end."""

    @rule(most=st.sampled_from([1, 2, 5, MOST]))
    def fold_after(self, most: int) -> None:
        self.ledger._recent._most = most

    @rule()
    def count(self) -> None:
        super().same()

    @invariant()
    def same(self) -> None:
        """The run itself and whoever looks into its file know the same."""
        keys = ["a", "b", "c", *(x + y for x in "abc" for y in "abc")]
        known = {key: state for key, (state, _) in self.model.items()}
        found = self.run(self.ledger.find(keys))
        assert {key: record.state for key, record in found.items()} == known
        with closing(LedgerView.open(self.path)) as view:
            assert view.find(keys) == found
            assert {one.key: one.state for one in view.jobs() if one.state != "handed_over"}.items() >= {
                (key, state) for key, state in known.items() if state != "handed_over"
            }
            open_ones = {key: state for key, state in known.items() if state in ("in_doubt", "handed_over")}
            assert open_ones.items() <= {(one.key, one.state) for one in view.doubts()}
        assert len(self.run(self.ledger.unlogged())) >= self.outbox


JournalModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestJournalModel = JournalModel.TestCase
LedgerModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestLedgerModel = LedgerModel.TestCase


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async def once() -> None:
        await (await SqliteLedger.open(tmp_path / "l", API)).close()

    asyncio.run(once())
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    asyncio.run(once())
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
