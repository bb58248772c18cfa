from __future__ import annotations

import asyncio
import os
import resource
import signal
from typing import TYPE_CHECKING, ClassVar

import pytest

from sender.errors import OutputError, UsageError
from sender.jobs.problem import Problem
from sender.ledger import FinalRecord
from sender.outcomes.outcome import Outcome
from sender.outcomes.outcome_log import OutcomeLog, read_outcomes
from sender.outcomes.recorder import FinishedJob, Recorder
from sender.runtime.metrics import NoMetrics
from tests.support.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def sent(number: int) -> FinishedJob:
    outcome = Outcome(f"job-{number}", "email", "sent", "f", number)
    return FinishedJob(outcome, FinalRecord(f"k{number}", "c", "sent", outcome.to_line()))


@pytest.mark.parametrize(
    ("torn", "kept"), [(b'{"id":"b', 1), (b'{"id":"b"}', 2), (b"", 1), (b"{" + b"x" * 3_000_000, 1)]
)
async def test_a_torn_last_line_is_repaired(tmp_path: Path, torn: bytes, kept: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"id":"a"}\n' + torn)
    log = OutcomeLog.open(path)
    await log.append([b'{"id":"z"}\n'])
    log.close()
    assert [outcome["id"] for outcome in read_outcomes(path)] == ["a", "b", "z"][:kept] + ["z"] * (kept == 1) + [
        "z"
    ] * (kept == 2)


async def test_one_run_at_a_time_and_clear_words(tmp_path: Path) -> None:
    log = OutcomeLog.open(tmp_path / "log")
    with pytest.raises(UsageError, match="in use"):
        OutcomeLog.open(tmp_path / "log")
    log.close()
    with pytest.raises(UsageError, match="directory"):
        OutcomeLog.open(tmp_path)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    log = OutcomeLog.open(tmp_path / "log")
    await log.append([b'{"id":"a"}\n'])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            await log.append([b'{"id":"b"}\n' * 50])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.close()
    assert (tmp_path / "log").read_bytes() == b'{"id":"a"}\n'


class Told:
    """Hears from a recorder."""

    def __init__(self) -> None:
        self.ends: list[FinishedJob] = []
        self.failures: list[OutputError] = []

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        self.ends += batch

    def log_failed(self, error: OutputError) -> None:
        self.failures.append(error)


class FullLog:
    async def append(self, lines: Sequence[bytes]) -> None:
        raise OutputError("full")


async def test_the_recorder_tells_only_what_is_on_disk(tmp_path: Path) -> None:
    ledger, log = MemoryLedger(), OutcomeLog.open(tmp_path / "log")
    told: list[str | None] = []

    class OnDisk(Told):
        def recorded(self, batch: Sequence[FinishedJob]) -> None:
            on_disk = {outcome["id"] for outcome in read_outcomes(tmp_path / "log")}
            for ended in batch:
                assert ended.outcome.id in on_disk
                told.append(ended.outcome.id)

    recorder = Recorder(ledger, log, OnDisk())
    running = asyncio.create_task(recorder.run())
    for number in range(2500):
        recorder.put(sent(number))
    recorder.put(FinishedJob(Outcome(None, None, "invalid", "f", 9, problems=(Problem("x", None, "y"),)), None))
    await recorder.drain()
    running.cancel()
    assert len(told) == 2501
    assert told[-1] is None
    assert await ledger.unlogged() == []
    log.close()


async def test_each_commit_of_ends_is_timed(tmp_path: Path) -> None:
    class Timed(NoMetrics):
        commits: ClassVar[list[str]] = []

        def observe_commit(self, operation: str, seconds: float) -> None:
            assert seconds >= 0
            self.commits.append(operation)

    log = OutcomeLog.open(tmp_path / "log")
    recorder = Recorder(MemoryLedger(), log, Told(), observer=Timed())
    running = asyncio.create_task(recorder.run())
    recorder.put(FinishedJob(Outcome(None, None, "invalid", "f", 9, problems=(Problem("x", None, "y"),)), None))
    await recorder.drain()
    assert Timed.commits == [], "an end that the ledger does not keep costs no commit"
    recorder.put(sent(1))
    await recorder.drain()
    running.cancel()
    assert Timed.commits == ["settle"]
    log.close()


async def test_lines_that_the_ledger_knows_and_the_log_lacks_are_written(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    await ledger.finish([sent(1).entry, sent(2).entry])  # type: ignore[list-item]
    log = OutcomeLog.open(tmp_path / "log")
    recorder = Recorder(ledger, log, Told())
    assert await recorder.replay() == 2
    assert await recorder.replay() == 0
    log.close()
    assert [outcome["id"] for outcome in read_outcomes(tmp_path / "log")] == ["job-1", "job-2"]


async def test_what_cannot_be_written_is_told_to_all_who_wait() -> None:
    """A recorder that had failed left `drain` waiting for ever: `sender reconcile` hung on a full disk."""

    class FullLedger(MemoryLedger):
        async def finish(self, entries: Sequence[FinalRecord]) -> int:
            raise OutputError("full")

    recorder = Recorder(FullLedger(), FullLog(), Told())
    running = asyncio.create_task(recorder.run())
    recorder.put(sent(1))
    async with asyncio.timeout(5):
        with pytest.raises(OutputError):
            await recorder.drain()
        recorder.put(sent(2))
        with pytest.raises(OutputError):
            await recorder.drain()
        with pytest.raises(OutputError):
            await running


async def test_ends_that_the_log_does_not_take_stand_in_the_ledger_alone() -> None:
    ledger, told = MemoryLedger(), Told()
    recorder = Recorder(ledger, FullLog(), told)
    running = asyncio.create_task(recorder.run())
    for number in range(3):
        recorder.put(sent(number))
    recorder.put(FinishedJob(Outcome(None, None, "invalid", "f", 9), None))
    async with asyncio.timeout(5):
        await recorder.drain()
        recorder.put(sent(7))
        await recorder.drain()
    running.cancel()
    assert [str(error) for error in told.failures] == ["full"]
    assert [ended.outcome.id for ended in told.ends] == ["job-0", "job-1", "job-2", "job-7"]
    assert (recorder.unlogged, recorder.dropped) == (4, 1)
    assert len(await ledger.unlogged()) == 4


async def test_a_log_whose_reader_pauses_holds_jobs_back_and_can_be_given_up(tmp_path: Path) -> None:
    """Ends were gathered without bound, and neither of two signals ended the run."""
    os.mkfifo(tmp_path / "log")
    log, told = OutcomeLog.open(tmp_path / "log"), Told()
    recorder = Recorder(MemoryLedger(), log, told)
    running = asyncio.create_task(recorder.run())
    number = 0
    async with asyncio.timeout(20):
        while recorder.has_room:
            recorder.put(sent(number))
            number += 1
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        waiting = asyncio.create_task(recorder.wait_for_room())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        recorder.give_up_log()
        await waiting
        await recorder.drain()
    running.cancel()
    log.close()
    assert len(told.ends) == number
    assert 0 < recorder.unlogged <= number


def test_the_line() -> None:
    problems = (Problem("a", "f", "m"), Problem("b", None, "n"))
    outcome = Outcome(
        "x", "email", "rejected", "f", 3, attempts=2, http_status=400, problems=problems, meta=b'{"a":1}',
        started_at=1795218981.1234, finished_at=1795218982.0, latency_ms=41.234,
    )
    assert outcome.to_line() == (
        b'{"id":"x","kind":"email","status":"rejected","http_status":400,"attempts":2,"error":{"code":"a","field":"f",'
        b'"message":"m","problems":[{"code":"a","field":"f","message":"m"},{"code":"b","message":"n"}]},"warnings":[],'
        b'"source":"f","line":3,"meta":{"a":1},"started_at":"2026-11-20T23:56:21.123Z",'
        b'"finished_at":"2026-11-20T23:56:22.000Z","latency_ms":41.2}\n'
    )


async def test_a_pipe_is_a_log_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    log = OutcomeLog.open(tmp_path / "fifo")
    await log.append([b"x\n"])
    assert os.read(reader, 10) == b"x\n"
    log.close()
    os.close(reader)
