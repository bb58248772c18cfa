"""The report of a real run that was killed and started again, against the sandbox."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from sender.report.make import make_sections
from sender.report.reading import read_outcomes
from tests.support.processes import email, outcomes, running_sandbox, sender, start_sender, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

AWAY = 7.0
"""Seconds between the runs: more than a silence within a run at this rate."""


def test_a_killed_run_and_its_restart(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path / "jobs.jsonl", [*map(email, range(500)), email(500, payload={"to": "nobody"})])
    log = tmp_path / "jobs.jsonl.outcomes.jsonl"
    with running_sandbox("--latency", "100") as sandbox:
        arguments = ("send", str(jobs), "--base-url", sandbox.url, "--no-reconcile", "--no-progress")
        first = start_sender(*arguments, cwd=tmp_path)
        while sandbox.lanes["send"]["arrived"] < 200:
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate(timeout=10)
        time.sleep(AWAY)
        assert sender(*arguments, cwd=tmp_path).returncode == 1
        arrived = sandbox.lanes["send"]["arrived"]
    lines = outcomes(log)
    sent = [one for one in lines if one["status"] == "sent"]
    assert all(one["started_at"] <= one["written_at"] <= one["finished_at"] for one in sent)
    figures = read_outcomes(log)
    in_doubt = [one["id"] for one in lines if one["status"] == "in_doubt"]
    assert len(in_doubt) >= arrived - figures.by_status()["sent"] > 0, "some were handed over and not yet written"
    assert figures.by_status()["sent"] == 500 - len(in_doubt)
    assert figures.latency_ms.count == 500 - len(in_doubt), "lines that the crash repeated count once"
    assert 0 < (figures.timeline.busiest or 0) <= 100
    (section,) = make_sections([log], 100.0)
    rate = section.charts[0]
    assert max(end - begin for begin, end in rate.pauses) >= AWAY - 2
    assert "Nothing was written from" in rate.note
    tables = {table.caption: table.rows for table in section.tables}
    assert tables["Doubts and what they became"] == (("unanswered", "still in doubt", str(len(in_doubt))),)
    assert [row[0] for row in tables["Jobs that were not sent"]] == [*in_doubt, "job-500"]
