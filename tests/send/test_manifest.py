"""A run's manifest, and that it agrees with log and ledger until somebody changes one of them."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import email, running_sandbox, start_sender, write_jobs
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


def send(sandbox: Sandbox, folder: Path, *arguments: str) -> int:
    return run_sender(
        "send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "5000", "--no-reconcile", *arguments, cwd=folder
    ).returncode


def verified(folder: Path, name: str = "jobs.jsonl.run.json") -> tuple[int, str]:
    done = run_sender("verify", name, cwd=folder)
    return done.returncode, done.stdout.decode()


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "jobs.jsonl.run.json").read_bytes())  # type: ignore[no-any-return]


@pytest.fixture
def a_run(sandbox: Sandbox, tmp_path: Path) -> Path:
    sandbox.post("faults", fault="status_400", count=2)
    bad = email(50)
    bad["payload"]["to"] = "nobody"
    anonymous = {name: value for name, value in email(51).items() if name != "id"}
    write_jobs(tmp_path / "jobs.jsonl", [*(email(n) for n in range(40)), bad, anonymous])
    (tmp_path / "out.txt").write_text("person-7\n")
    assert send(sandbox, tmp_path, "--exclude", "out.txt") == 1
    return tmp_path


def test_it_tells_what_was_sent_from_what(a_run: Path) -> None:
    manifest = manifest_of(a_run)
    assert (a_run / "jobs.jsonl.run.json").stat().st_mode & 0o777 == 0o600
    books = manifest["books"]
    assert (books["read"], books["sent"], books["rejected"], books["skipped"], books["invalid"]) == (42, 38, 2, 1, 1)
    assert manifest["exit"] == 1
    assert [one["name"] for one in (*manifest["inputs"], *manifest["exclude"])] == ["jobs.jsonl", "out.txt"]
    assert all(len(one["sha256"]) == 64 for one in (*manifest["inputs"], *manifest["exclude"], manifest["outcomes"]))
    assert manifest["options"]["exclude"] == ["out.txt"]
    assert manifest["limits"]["send"]["most"] <= manifest["limits"]["send"]["limit"] == 5000
    assert manifest["duplicates_risk"].startswith("Nothing was sent twice")
    assert manifest["exclusions"] == {"listed": 1, "suppressed": 0}
    assert "person" not in json.dumps(manifest)
    assert verified(a_run) == (0, "manifest, log and ledger agree: 42 read, 38 sent by this run\n")


def test_it_agrees_over_several_runs(a_run: Path, sandbox: Sandbox) -> None:
    assert send(sandbox, a_run, "--retry", "rejected", "--exclude", "out.txt") == 1
    assert manifest_of(a_run)["run"] == 2
    assert verified(a_run)[0] == 0


def test_a_changed_input_is_told(a_run: Path) -> None:
    with (a_run / "jobs.jsonl").open("a") as file:
        file.write("\n")
    assert verified(a_run) == (1, "jobs.jsonl has changed since the run\n")
    (a_run / "out.txt").unlink()
    assert "out.txt is not there any more" in verified(a_run)[1]


def test_a_changed_log_is_told(a_run: Path) -> None:
    log = a_run / "jobs.jsonl.outcomes.jsonl"
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    assert "is shorter than it was" in verified(a_run)[1]
    number = next(number for number, line in enumerate(lines) if b'"sent"' in line)
    lines[number] = lines[number].replace(b'"status":"sent"', b'"status":"failed"')
    log.write_bytes(b"".join(lines))
    told = verified(a_run)[1]
    assert "has other lines than at the end of the run" in told or "is shorter" in told
    assert "1 jobs stand otherwise in the log than in the ledger: job-" in told
    log.write_bytes(whole)
    assert verified(a_run)[0] == 0


def test_a_changed_ledger_is_told(a_run: Path) -> None:
    with sqlite3.connect(a_run / "jobs.jsonl.outcomes.jsonl.ledger") as db:
        db.execute("DELETE FROM jobs WHERE key IN (SELECT key FROM jobs WHERE state = 'sent' LIMIT 1)")
    db.close()
    status, told = verified(a_run)
    assert status == 1
    assert "no run of sender did it" in told
    assert "the ledger knows 37 jobs as sent, the log 38" in told


def test_a_killed_run_has_a_manifest_without_an_end(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(500)])
    process = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "20", cwd=tmp_path)
    while not sandbox.messages:
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert manifest_of(tmp_path)["ended"] is None
    status, told = verified(tmp_path)
    assert status == 1
    assert "has not come to its end" in told


def test_a_rehearsal_has_its_own_and_names_nobody(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    assert send(sandbox, tmp_path, "--redirect-to", "me@example.com") == 0
    name = "jobs.jsonl.rehearsal.run.json"
    manifest = json.loads((tmp_path / name).read_text())
    assert (manifest["rehearsal"], manifest["options"]["redirect_to"]) == (True, "set")
    assert "me@example.com" not in json.dumps(manifest)
    assert verified(tmp_path, name)[0] == 0


def test_none_where_none_is_wanted(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    assert send(sandbox, tmp_path, "--no-manifest") == 0
    assert not (tmp_path / "jobs.jsonl.run.json").exists()
    (tmp_path / "other.json").write_text("{}")
    done = run_sender("verify", "other.json", cwd=tmp_path)
    assert done.returncode == 2
    assert b"is no manifest of a run" in done.stderr


@pytest.mark.parametrize("changed", [{"books": 3}, {"limits": []}, {"inputs": 1}, {"ledger": None}, {"outcomes": {}}])
def test_a_manifest_of_wrong_types_is_a_sentence(changed: dict[str, Any], a_run: Path) -> None:
    path = a_run / "jobs.jsonl.run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    done = run_sender("verify", path.name, cwd=a_run)
    assert done.returncode == 2
    assert b"is not as sender wrote it" in done.stderr
