from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.jobs.job import Job, Line
from sender.jobs.status import STATUSES
from sender.outcomes.redrive import JobLines, input_of
from sender.validation.parser import Parser
from tests.support.processes import email, sender, write_jobs

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

    assert [json.loads(line)["status"] for line in found()] == ["rejected", "invalid", "sent"]
    assert found("--last") == found()
    assert found() == [text.splitlines()[n] for n in (1, 3, 4)]
    assert [json.loads(line)["line"] for line in found("--status", "duplicate,rejected")] == [2, 4]
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
    job = Parser("push").parse(Line("jobs", 1, json.dumps(payload).encode()), 0.0)
    assert isinstance(job, Job)
    outcome = {"id": job.id, "kind": "push", "status": "failed", "source": "elsewhere", "line": 9, "error": None}
    (tmp_path / "log").write_text(json.dumps(outcome) + "\n")
    done = sender("outcomes", "log", "--jobs", "jobs", cwd=tmp_path)
    assert done.stdout.decode().splitlines() == [json.dumps(payload)]


def test_validate_limit_and_a_broken_input(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs", [email(1), email(2), BAD])
    assert sender("validate", "jobs", "--limit", "2", cwd=tmp_path).returncode == 0
    (tmp_path / "cut.gz").write_bytes(b"\x1f\x8b\x08")
    done = sender("validate", "jobs", "cut.gz", cwd=tmp_path)
    assert done.returncode == 3
    assert b"3 jobs: 1 invalid" in done.stderr
    assert b"cut.gz is cut off" in done.stderr


def test_many_jobs_are_held_on_disk(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs", (email(n % 3000) for n in range(4000)))
    assert sender("validate", "jobs", cwd=tmp_path).stderr.startswith(b"4,000 jobs: 0 invalid, 1,000 duplicate")


def outcome(job_id: str | None, status: str, line: int, **more: object) -> dict[str, object]:
    return {"id": job_id, "kind": "email", "status": status, "source": "jobs", "line": line, "error": None, **more}


def write_log(path: Path, outcomes: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in outcomes))


def jobs_behind(tmp_path: Path, *arguments: str, status: int = 0) -> list[bytes]:
    done = sender("outcomes", "log", *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    return done.stdout.splitlines()


def test_a_conflicting_line_is_given_back_and_not_the_one_that_was_sent(tmp_path: Path) -> None:
    jobs = [email(1), email(2) | {"id": "job-1"}]
    write_jobs(tmp_path / "jobs", jobs)
    write_log(tmp_path / "log", [outcome("job-1", "sent", 1), outcome("job-1", "invalid", 2)])
    assert jobs_behind(tmp_path, "--status", "invalid", "--jobs", "jobs") == [json.dumps(jobs[1]).encode()]


def test_edited_and_reordered_inputs(tmp_path: Path) -> None:
    first, second, third = (json.dumps(email(n)).encode() for n in (1, 2, 3))
    repaired = json.dumps(email(9) | {"id": "job-2"}).encode()
    write_log(tmp_path / "log", [outcome(f"job-{n}", "failed", n) for n in (1, 2)])
    (tmp_path / "jobs").write_bytes(third + b"\r\n" + repaired + b"\r\n" + first)
    assert jobs_behind(tmp_path, "--jobs", "jobs") == [repaired, first]
    (tmp_path / "jobs").write_bytes(third + b"\n" + second)
    assert jobs_behind(tmp_path, "--jobs", "jobs", status=1) == [second]


def test_lines_without_an_id_are_known_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_bytes(b"{torn\n" + json.dumps(email(2)).encode() + b"\n{torn too\n")
    write_log(tmp_path / "log", [outcome(None, "invalid", n, source="-") for n in (1, 2, 3, 1)])
    assert len(jobs_behind(tmp_path)) == 3
    assert jobs_behind(tmp_path, "--jobs", "jobs", status=1) == [b"{torn", b"{torn too"]


@pytest.mark.parametrize(
    ("source", "inputs", "expected"),
    [
        ("a", ["a", "b"], "a"),
        ("./a", ["a", "b"], "a"),
        ("old/a", ["new/a", "b"], "new/a"),
        ("old/a", ["x/a", "y/a"], None),
        ("-", ["a"], "a"),
        ("-", ["a", "b"], None),
        ("c", ["a"], None),
    ],
)
def test_input_of(source: str, inputs: list[str], expected: str | None) -> None:
    assert input_of(source, inputs) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=8), st.randoms(), st.data())
def test_each_wanted_job_comes_back_once_whatever_the_order(
    numbers: list[int], random: object, data: st.DataObject
) -> None:
    """As long as every id stands once in the input, each wanted id comes back exactly once."""
    numbers = list(dict.fromkeys(numbers))
    wanted = data.draw(st.lists(st.sampled_from(numbers), unique=True)) if numbers else []
    lines = JobLines()
    for number in wanted:
        lines.want(outcome(f"job-{number}", "failed", numbers.index(number) + 1))
    random.shuffle(numbers)  # type: ignore[attr-defined]
    read = [Line("jobs", place, json.dumps(email(number)).encode()) for place, number in enumerate(numbers, 1)]
    found = [json.loads(line.data)["id"] for line in lines.find(["jobs"], lambda: iter(read))]
    assert sorted(found) == sorted(f"job-{number}" for number in wanted)
    assert lines.missing == 0


def test_logs_that_are_none(tmp_path: Path) -> None:
    for text in ("[1]\n", "{}\n", '{"status":"sent"}\n', "nonsense\n" + json.dumps(outcome("a", "sent", 1)) + "\n"):
        (tmp_path / "log").write_text(text)
        done = sender("outcomes", "log", cwd=tmp_path)
        assert (done.returncode, b"log:1 is not a line of an outcome log" in done.stderr) == (2, True)
    write_log(tmp_path / "log", [outcome("a", "sent", 1, meta=2**70)])
    assert jobs_behind(tmp_path) == [(tmp_path / "log").read_bytes().strip()]
    for arguments in (("--status", ""), ("--kind", "emial"), ("--jobs", "nowhere"), ("--all", "--last")):
        assert sender("outcomes", "log", *arguments, cwd=tmp_path).returncode == 2


def test_a_log_that_grows_while_it_is_read(tmp_path: Path) -> None:
    from sender.cli.outcomes import _holding, _Log

    write_log(tmp_path / "log", [outcome(str(n), "sent", n) for n in range(9)])
    found = _holding([_Log(tmp_path / "log")], duplicates=False)
    next(found)
    with (tmp_path / "log").open("a") as log:
        log.write(json.dumps(outcome("late", "sent", 99)) + "\n")
        log.flush()
        os.fsync(log.fileno())
    assert len(list(found)) == 8


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STATUSES)), max_size=20))
def test_exactly_one_line_holds_for_each_id(history: list[tuple[str, str]]) -> None:
    import tempfile
    from pathlib import Path

    from sender.cli.outcomes import _holding, _Log

    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder) / "log", [outcome(job, status, n) for n, (job, status) in enumerate(history)])
        holding = {e.outcome["id"]: e.outcome["line"] for e in _holding([_Log(Path(folder) / "log")], duplicates=False)}
    expected = {job: n for n, (job, status) in enumerate(history) if status != "duplicate"}
    assert holding == expected
