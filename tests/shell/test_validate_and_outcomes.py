from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.processes import email, sender, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

BAD = email(2) | {"payload": {"to": "nobody", "transactional_message_id": 3, "identifiers": {}}}


def test_validate(tmp_path: Path) -> None:
    write_jobs(tmp_path / "good", [email(1), email(1) | {"id": 7}])
    done = sender("validate", "good", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"2 jobs: 0 invalid, 0 duplicate, 0 with warnings\n"
    write_jobs(tmp_path / "jobs", [email(1), BAD, email(1), email(3) | {"id": "job-1"}])
    done = sender("validate", "jobs", cwd=tmp_path)
    assert done.returncode == 1
    text = done.stdout.decode()
    assert "jobs:2: to holds something that is not an address" in text
    assert "jobs:2: identifiers has no keys" in text
    assert "jobs:3: warning" in text
    assert "jobs:4: id: this id stands for a job with other content" in text
    assert "nobody" not in text
    done = sender("validate", "jobs", "--json", cwd=tmp_path)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(record["line"], record["valid"]) for record in records] == [(2, False), (3, True), (4, False)]
    assert {problem["code"] for problem in records[0]["problems"]} == {"bad_recipient", "bad_identifiers"}


def test_validate_stdin(tmp_path: Path) -> None:
    done = sender("validate", cwd=tmp_path, stdin=json.dumps(email(1)).encode() + b"\n{torn")
    assert done.returncode == 1
    assert b"-:2: the line is not JSON" in done.stdout
    assert sender("validate", cwd=tmp_path, stdin=b"[{}]").returncode == 2


def test_outcomes(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "kind": "email", "status": "in_doubt", "source": "jobs", "line": 1, "error": {"code": "timeout"}},
        {"id": "b", "kind": "email", "status": "rejected", "source": "jobs", "line": 2, "error": {"code": "api_error"}},
        {"id": "b", "kind": "email", "status": "duplicate", "source": "jobs", "line": 4, "error": None},
        {"id": None, "kind": None, "status": "invalid", "source": "jobs", "line": 3, "error": {"code": "invalid_json"}},
        {"id": "a", "kind": "email", "status": "sent", "source": "jobs", "line": 1, "error": None},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "log").write_text(text + '{"id":"torn')
    jobs = [json.dumps(email(2) | {"id": "b"}), json.dumps(email(1) | {"id": "a"}), "{torn", json.dumps(email(5))]
    (tmp_path / "jobs").write_text("\n".join(jobs) + "\n")

    def found(*arguments: str) -> list[str]:
        done = sender("outcomes", "log", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()

    assert [json.loads(line)["status"] for line in found()] == ["rejected", "duplicate", "invalid", "sent"]
    assert len(found("--all")) == 5
    assert [json.loads(line)["id"] for line in found("--status", "rejected,sent")] == ["b", "a"]
    assert len(found("--code", "api_error")) == 1
    assert [line.split() for line in found("--count", "--status", "rejected")] == [["1", "rejected", "api_error"]]
    assert found("--status", "rejected,failed", "--jobs", "jobs") == [jobs[0]]
    assert found("--status", "invalid", "--jobs", "jobs") == ["{torn"]
    assert sender("outcomes", "log", "--status", "nonsense", cwd=tmp_path).returncode == 2


def test_job_lines_of_bare_payloads(tmp_path: Path) -> None:
    payload = email(1)["payload"]
    write_jobs(tmp_path / "jobs", [payload, email(2)["payload"]])
    from sender.job import Job, Line
    from sender.parsing import Parser

    job = Parser("push").parse(Line("jobs", 1, json.dumps(payload).encode()), 0.0)
    assert isinstance(job, Job)
    outcome = {"id": job.id, "kind": "push", "status": "failed", "source": "elsewhere", "line": 9, "error": None}
    (tmp_path / "log").write_text(json.dumps(outcome) + "\n")
    done = sender("outcomes", "log", "--jobs", "jobs", cwd=tmp_path)
    assert done.stdout.decode().splitlines() == [json.dumps(payload)]
