"""What this user has sent is known to every later run, whatever the input, log and ledger are called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import email, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with a file of 20 jobs, beside the user's state directory."""
    work = tmp_path / "work"
    work.mkdir()
    write_jobs(work / "a.jsonl", (email(number) for number in range(20)))
    return work


def send(
    sandbox: Sandbox, folder: Path, *arguments: str, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    return run_sender(
        "send", *arguments, "--base-url", sandbox.url, "--json", cwd=folder, stdin=stdin,
        XDG_STATE_HOME=str(folder.parent / "state"),
    )


def stops(sandbox: Sandbox, folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """The run must stop before its first request; returns what it says."""
    before = len(sandbox.messages)
    done = send(sandbox, folder, *arguments, stdin=stdin)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert len(sandbox.messages) == before
    text = done.stderr.decode()
    assert "--adopt" in text
    assert "--send-again" in text
    return text


def test_another_ledger(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    text = stops(sandbox, folder, "a.jsonl", "--ledger", "other", "--outcomes", "other.log")
    assert f"{folder}/a.jsonl.outcomes.jsonl.ledger (20)" in text


def test_a_renamed_and_a_copied_input(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "copy.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    stops(sandbox, folder, str(elsewhere / "copy.jsonl"))
    (folder / "a.jsonl").rename(folder / "b.jsonl")
    stops(sandbox, folder, "b.jsonl")


def test_a_deleted_ledger_beside_its_outcome_log(sandbox: Sandbox, folder: Path) -> None:
    payload = email(7)["payload"]
    write_jobs(folder / "a.jsonl", [*(email(number) for number in range(20)), payload | {"message_data": {"n": 99}}])
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    for part in folder.glob("*.ledger*"):
        part.unlink()
    text = stops(sandbox, folder, "a.jsonl")
    assert "a.jsonl.outcomes.jsonl (21)" in text
    done = send(sandbox, folder, "a.jsonl", "--adopt", "a.jsonl.outcomes.jsonl")
    assert (done.returncode, json.loads(done.stdout)["duplicate"]) == (0, 21)
    assert len(sandbox.messages) == 21


def test_two_inputs_and_then_one_of_them(sandbox: Sandbox, folder: Path) -> None:
    write_jobs(folder / "b.jsonl", (email(number) for number in range(20, 30)))
    assert send(sandbox, folder, "a.jsonl", "b.jsonl").returncode == 0
    stops(sandbox, folder, "a.jsonl")


def test_a_file_and_then_its_lines_by_stdin(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    new = "".join(json.dumps(email(number)) + "\n" for number in range(100, 105)).encode()
    stops(sandbox, folder, "-", stdin=(folder / "a.jsonl").read_bytes())
    assert send(sandbox, folder, "-", stdin=new).returncode == 0
    stops(sandbox, folder, "-", "--outcomes", "third", stdin=new)


def test_taking_a_memory_over_sends_only_what_is_new(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    write_jobs(folder / "c.jsonl", (email(number) for number in range(15, 25)))
    done = send(sandbox, folder, "c.jsonl", "--adopt", "a.jsonl.outcomes.jsonl.ledger")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["sent"], summary["duplicate"]) == (0, 5, 5)
    assert sorted(sandbox.numbers()) == list(range(25))
    again = send(sandbox, folder, "c.jsonl")
    assert (again.returncode, json.loads(again.stdout)["duplicate"]) == (0, 10)


def test_on_the_users_word_they_are_sent_again(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    done = send(sandbox, folder, "a.jsonl", "--outcomes", "again", "--send-again")
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 20)


def test_what_was_not_sent_and_jobs_without_an_id_stop_nobody(sandbox: Sandbox, folder: Path) -> None:
    bare = email(1)["payload"]
    write_jobs(folder / "d.jsonl", [bare, {"id": "bad", "kind": "email", "payload": {"to": "x"}}])
    assert send(sandbox, folder, "d.jsonl").returncode == 1
    write_jobs(folder / "e.jsonl", [bare, email(3) | {"id": "bad"}])
    assert send(sandbox, folder, "e.jsonl").returncode == 0
    assert len(sandbox.messages) == 3


def test_another_api_is_another_world(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    with running_sandbox() as production:
        done = send(production, folder, "a.jsonl", "--outcomes", "prod")
        assert (done.returncode, len(production.messages)) == (0, 20)


def test_a_memory_in_doubt_is_taken_over_with_its_doubts(sandbox: Sandbox, folder: Path) -> None:
    sandbox.post("faults", fault="reset_after", count=1)
    assert send(sandbox, folder, "a.jsonl", "--no-reconcile").returncode == 1
    sandbox.heal()
    stops(sandbox, folder, "a.jsonl", "--outcomes", "x")
    done = send(
        sandbox, folder, "a.jsonl", "--outcomes", "x", "--adopt", "a.jsonl.outcomes.jsonl.ledger",
        "--reconcile-lag", "1",
    )
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 1), done.stderr
    assert len(sandbox.messages) == 20
