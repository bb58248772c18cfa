"""`skipped`, from the command line to the report: never requested, no fault, judged anew by the next run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import email, outcomes, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--rate-app", "1000") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    shared.heal()
    return shared


def send(sandbox: Sandbox, folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = run_sender(
        "send", "jobs.jsonl", "--base-url", sandbox.url, "--json", "--rate", "5000", "--no-reconcile", *arguments,
        cwd=folder,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.decode()


def test_excluded_jobs_are_skipped_and_the_exit_status_stays_0(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(30)])
    (tmp_path / "out.csv").write_text("email,why\nPerson3@example.com,asked\nperson-7,\n")
    status, summary, _ = send(sandbox, tmp_path, "--exclude", "out.csv:email")
    assert (status, summary["sent"], summary["skipped"], summary["read"]) == (0, 28, 2, 30)
    assert sorted(set(range(30)) - set(sandbox.numbers())) == [3, 7]
    log = tmp_path / "jobs.jsonl.outcomes.jsonl"
    skipped = [line for line in outcomes(log) if line["status"] == "skipped"]
    assert [(line["line"], line["error"]["code"], line["attempts"]) for line in skipped] == [
        (4, "excluded", 0), (8, "excluded", 0)
    ]
    assert "Person3" not in log.read_text()
    counted = run_sender("outcomes", log.name, "--count", cwd=tmp_path).stdout.decode()
    assert "2  skipped excluded" in counted
    lines = run_sender("outcomes", log.name, "--status", "skipped", "--jobs", "jobs.jsonl", cwd=tmp_path).stdout
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ["job-3", "job-7"]
    report = run_sender("report", "--text", log.name, cwd=tmp_path).stdout.decode()
    assert "skipped" in report


def test_the_last_line_says_that_some_were_kept_out(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3)])
    (tmp_path / "out").write_text("person-1\n")
    arguments = ("send", "jobs.jsonl", "--base-url", sandbox.url, "--no-reconcile")
    told = run_sender(*arguments, "--exclude", "out", cwd=tmp_path).stdout.decode()
    assert "exit 0  every job stands as sent or was kept out by rules of your own" in told
    assert run_sender(*arguments, cwd=tmp_path).stdout.decode().rstrip().endswith("every job stands as sent")


def test_who_leaves_the_list_gets_it_and_who_was_sent_stays_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(5)])
    (tmp_path / "out").write_text("person-1\n")
    assert send(sandbox, tmp_path, "--exclude", "out")[0] == 0
    (tmp_path / "out").write_text("person-2\n")
    status, summary, _ = send(sandbox, tmp_path, "--exclude", "out")
    assert (status, summary["sent"], summary["duplicate"], summary["skipped"]) == (0, 1, 4, 0)
    assert sorted(sandbox.numbers()) == [0, 1, 2, 3, 4]


def test_unique_holds_over_a_second_run(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = [email(n) for n in range(6)]
    for number in (3, 4):
        jobs[number]["payload"]["to"] = "person0@example.com"
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    status, summary, _ = send(sandbox, tmp_path, "--unique", "recipient", "--limit", "2")
    assert (summary["sent"], summary["skipped"]) == (2, 0)
    status, summary, _ = send(sandbox, tmp_path, "--unique", "recipient")
    assert (status, summary["sent"], summary["skipped"], summary["duplicate"]) == (0, 2, 2, 2)
    assert sorted(sandbox.numbers()) == [0, 1, 2, 5]


def test_a_dry_run_counts_them(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(5)])
    (tmp_path / "out").write_text("person-1\n")
    status, summary, _ = send(sandbox, tmp_path, "--exclude", "out", "--dry-run")
    assert (status, summary["not_started"], summary["skipped"]) == (0, 4, 1)


def test_a_list_that_is_not_there_sends_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    status, _, told = send(sandbox, tmp_path, "--exclude", "missing.csv")
    assert status == 2
    assert "--exclude: missing.csv cannot be read" in told
    assert sandbox.messages == []


def test_a_consumer_does_not_pass_a_list_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[safety]\nexclude = ["out"]\n')
    done = run_sender(
        "consume", "redis://127.0.0.1:1/0?stream=a&group=b", "--ledger", "l", "--config", "s.toml", cwd=tmp_path
    )
    assert done.returncode == 2
    assert b"consume does not know exclude" in done.stderr


def suppress(sandbox: Sandbox, **lists: list[str]) -> None:
    sandbox.post("suppressions", **lists)


def test_the_apis_suppression_lists(sandbox: Sandbox, tmp_path: Path) -> None:
    suppress(sandbox, bounces=[f"other{n}@example.com" for n in range(2500)] + ["person2@example.com"],
             spam_reports=["PERSON4@example.com"], blocks=["person1@example.com"])
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(5)])
    status, summary, told = send(sandbox, tmp_path, "--suppressions", "--rate", "app=100")
    assert (status, summary["sent"], summary["skipped"]) == (0, 3, 2), told
    assert sorted(sandbox.numbers()) == [0, 1, 3]
    codes = [one["error"]["code"] for one in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl") if one["error"]]
    assert codes == ["suppressed", "suppressed"]


def test_a_key_that_may_not_read_the_lists_is_warned_of(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="status_403", path="/v1/esp/suppression/bounces")
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3)])
    status, summary, told = send(sandbox, tmp_path, "--suppressions")
    assert (status, summary["sent"]) == (0, 3)
    assert "may not read the API's suppression lists" in told


def test_lists_that_cannot_be_read_send_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="status_404", path="/v1/esp/suppression/bounces")
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3)])
    status, _, told = send(sandbox, tmp_path, "--suppressions")
    assert status == 2
    assert "suppression lists cannot be read" in told
    assert sandbox.messages == []
