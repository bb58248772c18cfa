"""What stops, stalls or blocks a run, as real processes meet it: signals, pipes, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sender.ledger.ledger_view import LedgerView
from tests.support.fork_server import popen
from tests.support.processes import SENDER, email, environment, outcomes, running_sandbox, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Sandbox

STATUSES = ("sent", "invalid", "rejected", "failed", "in_doubt", "duplicate", "not_started")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000") as running:
        yield running


def start(sandbox: Sandbox, cwd: Path, *more: str, program: tuple[str, ...] = tuple(SENDER), **files: Any) -> Any:
    """`sender send` with these arguments."""
    command = [*program, "send", *more, "--base-url", sandbox.url, "--json", "--no-progress", "--no-reconcile"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **files}
    variables = pipes.pop("variables", {})
    return popen(command, cwd=cwd, env=environment(**variables), **pipes)


def end(process: subprocess.Popen[bytes], seconds: float = 30) -> tuple[dict[str, Any], str]:
    """Its summary, whose books balance, and what it told; fails when it does not end."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    summary = json.loads(out)
    assert summary["read"] == sum(summary[name] for name in STATUSES), summary
    return summary, (err or b"").decode()


def until(what: Any, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


def held(ledger: Path) -> int:
    """Jobs that stand as handed over."""
    with closing(LedgerView.open(ledger)) as view:
        return sum(doubt.state == "handed_over" for doubt in view.doubts())


def test_a_stopped_process_reads_its_answers(tmp_path: Path) -> None:
    """SIGSTOP for longer than the timeout: 41 jobs whose answers lay in the sockets ended in doubt."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(120)))
    with running_sandbox("--rate-send", "100000", "--latency", "1500") as sandbox:
        process = start(sandbox, tmp_path, "jobs.jsonl", "--timeout", "7")
        until(lambda: sandbox.lanes["send"]["arrived"] >= 41)
        process.send_signal(signal.SIGSTOP)
        time.sleep(8)
        process.send_signal(signal.SIGCONT)
        summary, err = end(process)
    assert (summary["sent"], summary["in_doubt"]) == (120, 0), err
    assert process.returncode == 0


def test_a_hangup_that_is_ignored_stays_ignored(sandbox: Sandbox, tmp_path: Path) -> None:
    """`nohup sender send` ended with the terminal."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(200)))
    process = start(sandbox, tmp_path, "jobs.jsonl", "--rate", "100", program=("nohup", *SENDER))
    until(lambda: len(sandbox.messages) >= 10)
    process.send_signal(signal.SIGHUP)
    summary, _ = end(process)
    assert (process.returncode, summary["sent"]) == (0, 200)


def test_a_stop_during_the_preflight_counts_the_lines(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(500)))
    sandbox.post("faults", fault="hang", lane="app")
    process = start(sandbox, tmp_path, "jobs.jsonl")
    until(lambda: sandbox.get("stats")["requests"] > 0)
    process.send_signal(signal.SIGTERM)
    summary, _ = end(process)
    assert (process.returncode, summary["read"], summary["not_started"]) == (3, 500, 500)


def test_a_fifo_that_nobody_writes_to_swallows_no_signal(sandbox: Sandbox, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = start(sandbox, tmp_path, "fifo")
    until((tmp_path / "fifo.outcomes.jsonl").exists)
    process.send_signal(signal.SIGINT)
    summary, _ = end(process, 10)
    assert (process.returncode, summary["read"]) == (3, 0)


def test_a_fifo_is_read_as_soon_as_somebody_writes(sandbox: Sandbox, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = start(sandbox, tmp_path, "fifo")
    until((tmp_path / "fifo.outcomes.jsonl").exists)
    write_jobs(tmp_path / "fifo", [email(1), email(2)])
    summary, _ = end(process)
    assert (process.returncode, summary["sent"]) == (0, 2)


def test_a_dry_run_of_such_a_fifo_ends_too(sandbox: Sandbox, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = start(sandbox, tmp_path, "fifo", "--dry-run")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 3


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more, and that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("why", ["signal", "halt"])
def test_a_blocked_stderr_holds_nothing(sandbox: Sandbox, tmp_path: Path, why: str) -> None:
    """The run stood in the write of a log line, and its first Ctrl-C was swallowed."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(1000)))
    reader, writer = full_pipe()
    try:
        process = start(sandbox, tmp_path, "jobs.jsonl", "--rate", "50", stderr=writer)
        until(lambda: len(sandbox.messages) >= 20)
        if why == "signal":
            process.send_signal(signal.SIGINT)
        else:
            sandbox.post("faults", fault="status_401")
        summary, _ = end(process, 10)
    finally:
        os.close(reader)
        os.close(writer)
    assert process.returncode == 3
    assert summary["sent"] == len(sandbox.messages) < 1000


def test_a_blocked_stdout_ends_with_the_next_signal(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    reader, writer = full_pipe()
    try:
        process = start(sandbox, tmp_path, "jobs.jsonl", stdout=writer)
        until(lambda: len(sandbox.messages) == 1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        os.read(reader, 65536)  # Python flushes what is left of it when it ends
        process.wait(10)
    finally:
        process.kill()
        process.communicate()
        os.close(reader)
        os.close(writer)
    assert process.returncode == 3


@pytest.mark.parametrize("extra", [0, 5])
def test_a_limit_ends_an_open_pipe(sandbox: Sandbox, tmp_path: Path, extra: int) -> None:
    """The other lanes waited for lines of theirs, for ever."""
    process = start(sandbox, tmp_path, "--limit", "3", stdin=subprocess.PIPE)
    process.stdin.write(b"".join(json.dumps(email(number)).encode() + b"\n" for number in range(3 + extra)))
    process.stdin.flush()
    try:
        process.wait(20)
    finally:
        process.kill()
    summary, _ = end(process)
    assert (process.returncode, summary["sent"], summary["not_started"]) == (0, 3, 0)
    assert len(sandbox.messages) == 3


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from sender.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("size", [60_000, 110_000, 200_000])
@pytest.mark.parametrize("signals", [0, 2])
def test_a_full_disk_while_retries_are_due(sandbox: Sandbox, tmp_path: Path, size: int, signals: int) -> None:
    """It hung, two SIGINTs did nothing, and jobs that the ledger never knew were told to be in doubt."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(2000)))
    sandbox.post("faults", fault="status_503", retry_after="1", probability=0.5)
    program = (sys.executable, "-c", LIMITED, str(size))
    process = start(sandbox, tmp_path, "jobs.jsonl", "--rate", "200", program=program)
    until(lambda: sandbox.lanes["send"]["arrived"] >= 100 or process.poll() is not None)
    time.sleep(1)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
    summary, err = end(process, 40)
    assert process.returncode == 3
    assert "cannot be written" in err or signals
    ledger = tmp_path / "jobs.jsonl.outcomes.jsonl.ledger"
    lines = outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")
    doubts = {line["id"] for line in lines if line["status"] == "in_doubt"}
    assert summary["in_doubt"] - len(doubts) == held(ledger), "what is told of the next run is true"
    sandbox.heal()
    process = start(sandbox, tmp_path, "jobs.jsonl", "--rate", "2000")
    again, _ = end(process, 40)
    assert again["in_doubt"] == summary["in_doubt"]
    numbers = sandbox.numbers()
    assert len(numbers) == len(set(numbers))
    assert again["sent"] + again["duplicate"] + again["in_doubt"] == 2000


def test_signals_while_jobs_are_released(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each signal cut the release short: jobs stood nowhere, and were told to be in doubt."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import asyncio\n"
        "from sender.ledger.sqlite_ledger import SqliteLedger\n"
        "real = SqliteLedger.release\n"
        "async def slow(self, keys):\n"
        "    await asyncio.sleep(1)\n"
        "    await real(self, keys)\n"
        "SqliteLedger.release = slow\n"
    )
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(500)))
    sandbox.post("faults", fault="status_503", retry_after="1", probability=0.5)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", ""), str(Path.cwd())]))
    process = start(sandbox, tmp_path, "jobs.jsonl", variables={"PYTHONPATH": path})
    until(lambda: len(sandbox.messages) >= 10, 90)
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    summary, err = end(process)
    assert process.returncode == 3
    assert "could not be recorded" not in err
    assert (summary["in_doubt"], held(tmp_path / "jobs.jsonl.outcomes.jsonl.ledger")) == (0, 0)
    assert summary["sent"] == len(sandbox.messages)


def test_a_status_that_everybody_gets_halts_with_the_words_of_the_api(sandbox: Sandbox, tmp_path: Path) -> None:
    """402 for every job finished the whole pile as rejected."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(300)))
    sandbox.post("faults", fault="status_402", body='{"meta":{"error":"Payment required for this workspace"}}')
    summary, err = end(start(sandbox, tmp_path, "jobs.jsonl"))
    assert (summary["rejected"], summary["not_started"]) == (20, 280)
    assert "Payment required for this workspace" in err.splitlines()[-1]
    assert "email" in err.splitlines()[-1]


def test_one_forbidden_job_is_rejected_with_one_request(sandbox: Sandbox, tmp_path: Path) -> None:
    """48 requests, no outcome, exit 3, and `they were not started`."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(50)))
    sandbox.post("faults", fault="status_403", count=1, skip=30, body='{"meta":{"error":"This person is on a list"}}')
    process = start(sandbox, tmp_path, "jobs.jsonl")
    summary, _ = end(process)
    assert (process.returncode, summary["sent"], summary["rejected"], summary["attempts"]) == (1, 49, 1, 50)
