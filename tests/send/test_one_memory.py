"""What this user has sent is known to every later run, whatever the input, log and ledger are called."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import email, running_sandbox, start_sender, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
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


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


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


def test_a_refusal_opens_no_door(sandbox: Sandbox, folder: Path) -> None:
    """The refused run left an empty ledger beside the log, and the next one sent everything again."""
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    for part in folder.glob("*.ledger*"):
        part.unlink()
    for _ in range(3):
        stops(sandbox, folder, "a.jsonl")
    write_jobs(folder / "a.jsonl", [email(50)])
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    write_jobs(folder / "a.jsonl", [*(email(number) for number in range(20)), email(50)])
    assert "a.jsonl.outcomes.jsonl (20)" in stops(sandbox, folder, "a.jsonl")
    done = send(sandbox, folder, "a.jsonl", "--adopt", "a.jsonl.outcomes.jsonl")
    assert (done.returncode, json.loads(done.stdout)["duplicate"]) == (0, 21)


def test_a_dry_run_says_that_a_run_would_stop(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    (folder / "zz.jsonl").write_bytes((folder / "a.jsonl").read_bytes())
    done = send(sandbox, folder, "zz.jsonl", "--dry-run")
    assert done.returncode == 2
    assert b"a.jsonl.outcomes.jsonl.ledger (20); a run would stop" in done.stderr
    assert send(sandbox, folder, "zz.jsonl", "--dry-run", "--send-again").returncode == 0
    assert send(sandbox, folder, "a.jsonl", "--dry-run").returncode == 0


def test_a_log_of_any_name_stands_for_its_lost_ledger(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl", "--outcomes", "res.txt").returncode == 0
    for part in folder.glob("res.txt.ledger*"):
        part.unlink()
    assert "res.txt (20)" in stops(sandbox, folder, "a.jsonl")


def test_the_log_of_a_corrupt_ledger_is_read(sandbox: Sandbox, folder: Path) -> None:
    assert send(sandbox, folder, "a.jsonl", "--outcomes", "first.log").returncode == 0
    (folder / "first.log.ledger").write_bytes(b"SQLite format 3\0" + bytes(4000))
    assert "first.log (20)" in stops(sandbox, folder, "a.jsonl")


def test_an_older_copy_of_the_ledger_knows_less_than_its_log(sandbox: Sandbox, folder: Path) -> None:
    write_jobs(folder / "a.jsonl", (email(number) for number in range(5)))
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    ledger = folder / "a.jsonl.outcomes.jsonl.ledger"
    copy = ledger.read_bytes()
    write_jobs(folder / "a.jsonl", (email(number) for number in range(20)))
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    ledger.write_bytes(copy)
    assert "a.jsonl.outcomes.jsonl (15)" in stops(sandbox, folder, "a.jsonl")


def test_a_doubt_that_a_log_tells_of_is_one_job(sandbox: Sandbox, folder: Path) -> None:
    sandbox.post("faults", fault="reset_after", count=1)
    assert send(sandbox, folder, "a.jsonl", "--no-reconcile").returncode == 1
    sandbox.heal()
    for part in folder.glob("*.ledger*"):
        part.unlink()
    done = send(sandbox, folder, "a.jsonl", "--adopt", "a.jsonl.outcomes.jsonl", "--no-reconcile")
    summary = json.loads(done.stdout)
    assert (summary["in_doubt"], summary["duplicate"]) == (1, 19), done.stderr
    assert b"jobs=20" in done.stderr


def test_a_stream_that_stops_in_its_middle_tells_what_was_sent(sandbox: Sandbox, folder: Path) -> None:
    """It said that nothing was sent, and lines that it had read were counted nowhere."""
    assert send(sandbox, folder, "a.jsonl").returncode == 0
    run = start_sender("send", "-", "--base-url", sandbox.url, "--json", "--outcomes", "s", cwd=folder,
                       XDG_STATE_HOME=str(folder.parent / "state"))
    assert run.stdin is not None
    run.stdin.write(b"".join(json.dumps(email(number)).encode() + b"\n" for number in (100, 101)))
    run.stdin.flush()
    wait_for(lambda: len(sandbox.messages) == 22)
    run.stdin.write(b"".join(json.dumps(email(number)).encode() + b"\n" for number in (3, 102, 4)))
    out, error = run.communicate(timeout=30)
    summary = json.loads(out)
    assert (summary["read"], summary["sent"], summary["not_started"]) == (5, 2, 3)
    assert b"nothing was sent" not in error
    assert b"these and what follows were not sent" in error


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


@pytest.mark.parametrize("first", ["a.jsonl", "b.jsonl"])
def test_two_runs_at_a_time_share_no_job(sandbox: Sandbox, folder: Path, first: str) -> None:
    """Each had compared the memories when it began; 200 jobs that the other reached later were sent twice."""
    write_jobs(folder / "a.jsonl", (email(number) for number in range(300)))
    write_jobs(folder / "b.jsonl", (email(number) for number in (*range(500, 600), *range(200, 300))))
    second = {"a.jsonl": "b.jsonl", "b.jsonl": "a.jsonl"}[first]
    state = str(folder.parent / "state")
    common = ("--base-url", sandbox.url, "--json", "--no-progress")
    runs = []
    for name in (first, second):
        runs.append(start_sender("send", name, *common, cwd=folder, XDG_STATE_HOME=state))
        wait_for(lambda name=name: (folder / f"{name}.outcomes.jsonl").exists())
        runs[0].send_signal(signal.SIGSTOP)  # until both have compared the memories
    runs[0].send_signal(signal.SIGCONT)
    told = [run.communicate(timeout=40) for run in runs]
    numbers = sandbox.numbers()
    assert sorted(set(numbers)) == sorted(numbers), "a job was sent by both"
    stopped = [run for run in runs if run.returncode == 3]
    assert stopped
    assert any(b"another run, with the ledger" in error for _, error in told)
    for out, _ in told:
        summary = json.loads(out)
        ends = ("sent", "invalid", "rejected", "failed", "in_doubt", "duplicate", "not_started")
        assert summary["read"] == sum(summary[name] for name in ends), "the books balance"


def test_a_run_that_died_is_no_concurrent_run(sandbox: Sandbox, folder: Path) -> None:
    """Its open file lay there, and a job that was taken over from it could never be sent."""
    sandbox.post("faults", fault="hang", lane="send")
    killed = start_sender("send", "a.jsonl", "--base-url", sandbox.url, "--no-preflight", cwd=folder,
                          XDG_STATE_HOME=str(folder.parent / "state"))
    wait_for(lambda: sandbox.get("stats")["requests"] >= 20)
    killed.kill()
    killed.communicate()
    assert (folder / "a.jsonl.outcomes.jsonl.ledger-wal").exists()
    sandbox.heal()
    done = send(sandbox, folder, "a.jsonl", "--outcomes", "x", "--adopt", "a.jsonl.outcomes.jsonl.ledger",
                "--retry", "in_doubt", "--no-reconcile")
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 20), done.stderr


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
        "--reconcile-lag", "4",
    )
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 1), done.stderr
    assert len(sandbox.messages) == 20
