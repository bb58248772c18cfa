"""When the recorder commits: its ends gather for a while, or go with a commit that comes anyway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sender.ledger import FinalRecord, HandOverRecord
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import GATHER, FinishedJob, Recorder
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sender.errors import OutputError
    from tests.support.virtual_time import VirtualLoop

ROUNDS = 10


class Listener:
    def recorded(self, batch: Sequence[FinishedJob]) -> None: ...

    def log_failed(self, error: OutputError) -> None: ...


class Log:
    async def append(self, lines: Sequence[bytes]) -> None: ...


class Noting(MemoryLedger):
    """Notes when ends reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: list[float] = []

    async def finish(self, entries: Sequence[FinalRecord]) -> int:
        self.finished.append(asyncio.get_running_loop().time())
        return await super().finish(entries)


def sent(number: int) -> FinishedJob:
    outcome = Outcome(f"job-{number}", "email", "sent", "f", number)
    return FinishedJob(outcome, FinalRecord(f"k{number}", "c", "sent", outcome.to_line()))


def test_few_ends_gather_for_a_while() -> None:
    async def body(loop: VirtualLoop) -> None:
        ledger = Noting()
        recorder = Recorder(ledger, Log(), Listener())
        running = asyncio.create_task(recorder.run())
        begin = loop.time()
        recorder.put(sent(1))
        await recorder.drain()
        assert ledger.finished == [pytest.approx(begin + GATHER)]
        running.cancel()

    run_virtual(body)


@pytest.mark.parametrize(("after", "joins"), [(0.0, False), (0.4 * GATHER, False), (0.6 * GATHER, True)])
def test_ends_that_gathered_go_with_another_commit(after: float, joins: bool) -> None:
    """At 100 jobs a second a hand-over and the ends of those before it were two commits, each with a sync."""

    async def body(loop: VirtualLoop) -> None:
        ledger = Noting()
        recorder = Recorder(ledger, Log(), Listener())
        running = asyncio.create_task(recorder.run())
        assert not recorder.join_commit(), "nothing waits"
        recorder.put(sent(1))
        await asyncio.sleep(0)
        begin = loop.time()
        await asyncio.sleep(after)
        assert recorder.join_commit() is joins
        await asyncio.sleep(0)
        assert len(ledger.finished) == joins, "they are in the ledger's hands after one turn of the loop"
        await recorder.drain()
        assert len(ledger.finished) == 1
        assert not recorder.join_commit(), "nothing waits any more"
        assert loop.time() <= begin + GATHER + 0.001
        running.cancel()

    run_virtual(body)


async def test_a_hand_over_and_ends_are_one_commit(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "ledger", "https://api.example")
    recorder = Recorder(ledger, Log(), Listener(), gather=30.0)
    recorder._may_go_at = 0.0
    running = asyncio.create_task(recorder.run())
    before = ledger._commits.commits
    for number in range(ROUNDS):
        recorder.put(sent(number))
        await asyncio.sleep(0)
        recorder._may_go_at = 0.0
        assert recorder.join_commit()
        await asyncio.sleep(0)
        await ledger.hand_over([HandOverRecord(f"h{number}", "c", b"{}")])
        await recorder.drain()
    assert ledger._commits.commits - before < 1.5 * ROUNDS, "a machine that stands still may part some of them"
    running.cancel()
    await ledger.close()
