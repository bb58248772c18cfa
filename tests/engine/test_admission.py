"""Whether a job starts whose identity an outcome log knows, or that stood in this input before."""

from __future__ import annotations

import pytest

from sender.engine.admission import admit
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.ledger import JobRecord

JOB = Job("a", "k", "c", KINDS["email"], "/v1/send/email", b"{}", "f", 1)


def test_a_twin_in_this_input_with_another_content_is_a_conflict() -> None:
    assert admit(JOB, None, JobRecord("sent", "x", 2), run=2) == "id_conflict"
    assert admit(JOB, None, JobRecord("failed", "x", 2), run=2, retry=("failed",)) == "id_conflict"


@pytest.mark.parametrize("run", [1, 2])
def test_a_record_that_was_taken_over_from_an_outcome_log_tells_no_content(run: int) -> None:
    """It was told as an id conflict."""
    ended, taken_over = JobRecord("sent", "c", run), JobRecord("sent", "", run)
    assert admit(JOB, None, taken_over, run=2) == admit(JOB, None, ended, run=2) != "id_conflict"
