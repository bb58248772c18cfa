"""A second run over the same file: what is passed over by its bytes is counted as if each line had been read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import Sandbox, email, running_sandbox, sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEDGER = "jobs.jsonl.outcomes.jsonl.ledger"
QUICK = ("--rate", "2000", "--json", "--no-progress", "--no-preflight", "--no-reconcile")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "0") as running:
        yield running


def lines() -> list[str]:
    """Those that are sent, with a twin, an invalid one, blank ones, one that expires, and one of another lane."""
    jobs = [json.dumps(email(number)) for number in range(120)]
    late = json.dumps({**email(500), "expires_at": 4_000_000_000})
    trigger = json.dumps({"id": "b", "kind": "broadcast", "broadcast_id": 3, "payload": {}})
    return [*jobs[:40], "", jobs[3], '{"payload": {}}', *jobs[40:80], late, "  ", trigger, *jobs[80:]]


def send(sandbox: Sandbox, folder: Path, *more: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """Exit status, summary, and the outcomes that the run has added."""
    log = folder / "jobs.jsonl.outcomes.jsonl"
    before = len(log.read_bytes()) if log.exists() else 0
    done = sender("send", "jobs.jsonl", "--base-url", sandbox.url, *QUICK, *more, cwd=folder)
    assert done.stdout, done.stderr.decode()
    summary = json.loads(done.stdout)
    del summary["elapsed_s"], summary["lanes"]
    return done.returncode, summary, [json.loads(line) for line in log.read_bytes()[before:].splitlines()]


def noted(folder: Path) -> int:
    with closing(sqlite3.connect(folder / LEDGER)) as db:
        return int(db.execute("SELECT count(*) FROM blocks").fetchone()[0])


def told(outcomes: list[dict[str, Any]]) -> list[Any]:
    """What does not depend on the moment."""
    return sorted((one["line"], one["id"] or "", one["status"], json.dumps(one["error"])) for one in outcomes)


@pytest.fixture(scope="module")
def first(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    (folder / "jobs.jsonl").write_text("\n".join(lines()))
    assert send(sandbox, folder)[0] == 1
    assert noted(folder) == 1
    return folder


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        ("", ()), ("grown", ()), ("grown", ("--limit", "3")), ("changed", ()), ("moved", ()),
        ("", ("--kind", "sms")), ("grown", ("--retry", "rejected,failed")),
    ],
)
def test_nothing_but_time_tells_that_lines_were_passed_over(
    sandbox: Sandbox, first: Path, tmp_path: Path, change: str, arguments: tuple[str, ...]
) -> None:
    """The same run on two copies of the ledger, of which one has forgotten the blocks and reads every line."""
    found = []
    for name in ("quick", "slow"):
        folder = tmp_path / name
        shutil.copytree(first, folder)
        new = [json.dumps(email(1000 + number)) for number in range(5)]
        text = {
            "": lines(), "grown": [*lines(), *new], "moved": [*new, *lines()],
            "changed": [line.replace("job-60", "job-6000") for line in lines()],
        }[change]
        (folder / "jobs.jsonl").write_text("\n".join(text))
        if name == "slow":
            with closing(sqlite3.connect(folder / LEDGER)) as db, db:
                db.execute("DELETE FROM blocks")
        status, summary, outcomes = send(sandbox, folder, "--send-again", *arguments)
        if "--limit" in arguments:  # how far the other lanes have come by then depends on the moment
            assert summary.pop("read") == summary.pop("duplicate") + summary["sent"] + summary["invalid"]
            outcomes = [one for one in outcomes if one["status"] != "duplicate"]
        found.append((status, summary, told(outcomes)))
    assert found[0] == found[1]


def test_a_job_that_is_sent_no_longer_is_read_again(sandbox: Sandbox, first: Path, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    shutil.copytree(first, folder)
    with closing(sqlite3.connect(folder / LEDGER)) as db, db:
        db.execute("DELETE FROM blocks")
        db.execute("UPDATE jobs SET state = 'failed' WHERE key = (SELECT key FROM jobs WHERE state = 'sent' LIMIT 1)")
    assert send(sandbox, folder, "--send-again")[1]["sent"] == 1
    assert noted(folder) == 1
    _, summary, _ = send(sandbox, folder, "--send-again")
    assert (summary["sent"], summary["duplicate"]) == (0, 123)
