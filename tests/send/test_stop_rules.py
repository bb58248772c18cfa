"""A run that goes wrong ends before it has gone wrong for everybody; a rehearsal tells what a run would take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sender.errors import UsageError
from sender.outcomes.summary import Books
from sender.send.most_rejected import MostRejected
from tests.support.processes import email, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


def send(sandbox: Sandbox, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = run_sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--json", *arguments, cwd=folder)
    return done.returncode, json.loads(done.stdout), done.stderr.decode()


def of_template(number: int, template: int) -> dict[str, Any]:
    job = email(number)
    return job | {"payload": job["payload"] | {"transactional_message_id": template}}


def test_a_template_that_does_not_exist_halts_before_the_first_of_its_jobs(sandbox: Sandbox, tmp_path: Path) -> None:
    """The preflight warned, and then 300 requests were made and 300 jobs rejected."""
    write_jobs(tmp_path / "jobs.jsonl", [email(1), of_template(2, 17), *(of_template(n, 9999) for n in range(3, 300))])
    status, summary, told = send(sandbox, tmp_path)
    assert (status, summary["rejected"]) == (3, 0)
    assert "no transactional message 9999 (jobs.jsonl:3)" in told
    assert "--no-preflight" in told
    assert len(sandbox.messages) <= 2
    status, summary, _ = send(sandbox, tmp_path, "--no-preflight", "--limit", "6")
    assert summary["rejected"] >= 4


def test_too_many_rejections_end_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    bad = (of_template(number, 9999) for number in range(1000))
    write_jobs(tmp_path / "jobs.jsonl", bad)
    status, summary, told = send(sandbox, tmp_path, "--no-preflight", "--max-rejected", "10")
    assert status == 3
    assert 10 < summary["rejected"] < 80
    assert "more than --max-rejected 10" in told
    assert summary["read"] == summary["rejected"] + summary["not_started"]


def test_a_share_waits_for_its_floor() -> None:
    rule, books = MostRejected.parse("5%"), Books()
    books.statuses.update(sent=10, rejected=5)
    assert rule.broken(books) is None
    books.statuses.update(sent=30)
    assert "5 of 45 jobs" in str(rule.broken(books))
    books.statuses.update(sent=60)
    assert rule.broken(books) is None
    assert MostRejected.parse("").broken(books) is None


def test_what_earlier_runs_ended_does_not_count() -> None:
    books = Books()
    for _ in range(50):
        books.count("rejected")
    assert MostRejected.parse("0").broken(books) is None
    books.statuses["rejected"] += 1
    assert MostRejected.parse("0").broken(books) is not None


@pytest.mark.parametrize("text", ["ten", "-1", "101%", "1.5", "5 %%"])
def test_another_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-rejected"):
        MostRejected.parse(text)


def test_a_rehearsal_tells_the_time_and_names_no_file_that_it_did_not_write(sandbox: Sandbox, tmp_path: Path) -> None:
    triggers = [
        {"id": f"b{number}", "kind": "broadcast", "broadcast_id": 1, "payload": {"recipients": {"segment": {"id": 1}}}}
        for number in range(4)
    ]
    write_jobs(tmp_path / "jobs.jsonl", [*(email(number) for number in range(500)), *triggers])
    before = set(tmp_path.iterdir())
    _, summary, _ = send(sandbox, tmp_path, "--dry-run")
    assert (summary["not_started"], summary["would_take_s"]) == (504, 40)
    assert summary["outcomes"] is summary["ledger"] is None
    text = run_sender("send", "jobs.jsonl", "--dry-run", cwd=tmp_path).stdout.decode()
    assert "would take" in text
    assert "0:00:40" in text
    assert "outcomes" not in text
    assert set(tmp_path.iterdir()) == before
