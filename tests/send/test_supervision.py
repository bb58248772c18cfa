"""A part of a run that ends unexpectedly halts it within a second; ends that wait to be recorded are bounded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import popen
from tests.support.processes import SENDER, email, environment, outcomes, running_sandbox, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


def start(sandbox: Sandbox, cwd: Path, *more: str, **variables: str) -> subprocess.Popen[bytes]:
    command = [*SENDER, "send", "jobs.jsonl", "--base-url", sandbox.url, "--json", "--no-progress", *more]
    return popen(
        command, cwd=cwd, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def check_books(summary: dict[str, int]) -> None:
    statuses = ("sent", "invalid", "rejected", "failed", "in_doubt", "duplicate", "not_started")
    assert summary["read"] == sum(summary[name] for name in statuses), summary


def fault(tmp_path: Path, code: str) -> str:
    """A folder whose `sitecustomize` changes the program before it starts."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(code)
    return os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH", ""), str(Path.cwd())]))


def test_a_log_that_cannot_even_be_truncated_halts_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    """The log's disk turned read-only, the recorder died of an OSError, and all 1,200 jobs were still sent."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(1200)))
    path = fault(tmp_path, (
        "import os, errno\n"
        "from sender.outcomes.outcome_log import OutcomeLog\n"
        "real, calls = OutcomeLog._append, []\n"
        "def readonly(self, data):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 10: raise OSError(errno.EROFS, 'Read-only file system')\n"
        "    real(self, data)\n"
        "OutcomeLog._append = readonly\n"
    ))
    done = start(sandbox, tmp_path, PYTHONPATH=path)
    out, err = done.communicate(timeout=40)
    summary = json.loads(out)
    check_books(summary)
    assert done.returncode == 3, err
    assert b"the outcome log" in err
    assert b"Read-only" in err
    assert 0 < len(sandbox.messages) < 300
    assert summary["sent"] == len(sandbox.messages), "what was accepted stands in the ledger, and is counted"
    assert start_again(sandbox, tmp_path) == 0
    assert sorted(sandbox.numbers()) == list(range(1200))
    assert {line["id"] for line in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl") if line["status"] == "sent"} == {
        f"job-{number}" for number in range(1200)
    }


def start_again(sandbox: Sandbox, cwd: Path) -> int:
    process = start(sandbox, cwd)
    process.communicate(timeout=50)
    return process.returncode


@pytest.mark.parametrize(
    "where",
    [
        "sender.outcomes.recorder.Recorder._record",
        "sender.engine.trigger_follower.TriggerFollower.follow",
        "sender.engine.watchdog.Watchdog.run",
        "sender.engine.lane.Lane._start",
        "sender.engine.lane.Lane._keep_handed_over",
        "sender.doubts.doubts.Doubts.keep_notes",
        "sender.send.intake.Intake.run",
    ],
)
@pytest.mark.parametrize("how", ["raise ValueError('ada@example.com')", "return"])
def test_whatever_ends_unexpectedly_halts_the_run(sandbox: Sandbox, tmp_path: Path, where: str, how: str) -> None:
    if how == "return" and where.endswith(("_record", "_keep_handed_over", "Intake.run")):
        how = "raise BaseExceptionGroup('g', [OSError(5, 'broken')])"
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(1000)))
    module, owner, name = where.rsplit(".", 2)
    path = fault(tmp_path, (
        "import asyncio\n"
        f"from {module} import {owner} as Owner\n"
        f"real, begun = Owner.{name}, []\n"
        "async def broken(self, *arguments):\n"
        "    begun.append(1)\n"
        "    if len(begun) > 1 and 'Recorder' in Owner.__name__ or 'Recorder' not in Owner.__name__:\n"
        "        await asyncio.sleep(0.5)\n"
        f"        {how}\n"
        "    return await real(self, *arguments)\n"
        f"Owner.{name} = broken\n"
    ))
    begin = time.monotonic()
    process = start(sandbox, tmp_path, PYTHONPATH=path)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    assert time.monotonic() - begin < 15
    check_books(json.loads(out))
    assert b"please report it" in err
    assert b"ada@" not in err
    assert len(sandbox.messages) < 700


def test_a_log_pipe_whose_reader_pauses(sandbox: Sandbox, tmp_path: Path) -> None:
    """Jobs were handed over without end, and three signals did nothing."""
    write_jobs(tmp_path / "jobs.jsonl", (email(number) for number in range(30_000)))
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    process = start(sandbox, tmp_path, "--outcomes", "log", "--ledger", "ledger", "--rate", "5000")
    try:
        before = -1
        for _ in range(40):
            time.sleep(0.5)
            accepted = len(sandbox.messages)
            if accepted == before and accepted:
                break
            before = accepted
        assert 0 < before < 15_000, "lanes wait for the recorder"
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
        os.close(reader)
    assert process.returncode == 3, err
    summary = json.loads(out)
    check_books(summary)
    assert summary["sent"] + summary["in_doubt"] >= len(sandbox.messages)


@pytest.mark.parametrize("lines", ["invalid", "refused kind"])
def test_memory_does_not_grow_with_lines_that_start_nothing(sandbox: Sandbox, tmp_path: Path, lines: str) -> None:
    """600,000 invalid lines took 665 MB, 200,000 lines of a refused kind 485 MB."""
    payload: dict[str, Any] = {"to": "a"}
    count = 150_000
    if lines == "refused kind":
        payload = email(1)["payload"] | {"message_data": {"x": "y" * 900}}
        count = 60_000
    write_jobs(tmp_path / "jobs.jsonl", ({"id": f"j{n}", "kind": "email", "payload": payload} for n in range(count)))
    if lines != "invalid":
        sandbox.post("faults", fault="status_403")
    process = start(sandbox, tmp_path, "--no-preflight", "--no-reconcile")
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))])
        time.sleep(0.05)
    out, err = process.communicate(timeout=5)
    check_books(json.loads(out))
    assert process.returncode == (1 if lines == "invalid" else 3), err
    assert 20 * 1024 < peak < 200 * 1024, "kilobytes at most"
