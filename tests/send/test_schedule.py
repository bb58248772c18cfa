"""Hours, cap and ramp from the command line."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import email, running_sandbox, start_sender, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from pathlib import Path


def test_a_cap_holds_over_two_runs_and_the_second_says_until_when_it_waits(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(60)])
    with running_sandbox() as sandbox:
        common = ("send", "jobs.jsonl", "--base-url", sandbox.url, "--daily-cap", "40", "--timezone", "Pacific/Apia",
                  "--no-reconcile", "--json")
        first = run_sender(*common, "--limit", "25", cwd=tmp_path)
        assert json.loads(first.stdout)["sent"] == 25
        waiting = start_sender(*common, cwd=tmp_path)
        until = time.monotonic() + 30
        while len(sandbox.messages) < 40:
            assert time.monotonic() < until
            time.sleep(0.1)
        time.sleep(0.5)
        waiting.send_signal(signal.SIGTERM)
        out, err = waiting.communicate(timeout=30)
        summary = json.loads(out)
        assert (waiting.returncode, summary["sent"], summary["duplicate"], summary["not_started"]) == (3, 15, 25, 20)
        assert summary["in_doubt"] == 0
        assert b"nothing starts until" in err
        assert b"00:00 Pacific/Apia" in err
        assert len(sandbox.messages) == 40


@pytest.mark.parametrize(("option", "value"), [
    ("--window", "nine to five"), ("--days", "weekdays"), ("--timezone", "Berlin"), ("--ramp", "10/s-1000/s:5m"),
])
def test_what_cannot_be_understood_sends_nothing(option: str, value: str, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    done = run_sender("send", "jobs.jsonl", "--base-url", "http://127.0.0.1:1", option, value, cwd=tmp_path)
    assert done.returncode == 2
    assert option in done.stderr.decode()


def test_a_ramp_is_of_one_run_alone(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    done = run_sender("send", "jobs.jsonl", "--state", "redis://127.0.0.1:1/0", "--ramp", "1/s-9/s:5m", cwd=tmp_path)
    assert done.returncode == 2
    assert b"--ramp is for a run alone" in done.stderr
