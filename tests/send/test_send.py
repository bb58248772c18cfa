"""`sender send` as a user runs it: real files, a real server, real processes."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import email, environment, outcomes, running_sandbox, sender, start_sender, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--rate-app", "1000", "--rate-trigger", "5") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    shared.heal()
    return shared


FAST = ("--rate", "5000", "--rate", "app=100", "--rate", "trigger=2", "--no-progress", "--json", "--no-reconcile")


def send(sandbox: Sandbox, cwd: Path, *arguments: str, **more: object) -> tuple[int, dict, bytes]:  # type: ignore[type-arg]
    done = sender("send", *arguments, "--base-url", sandbox.url, *FAST, cwd=cwd, **more)  # type: ignore[arg-type]
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_everything_is_sent_once_and_the_books_balance(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(200)])
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 0
    assert summary["read"] == summary["sent"] == summary["attempts"] == 200
    assert summary["lanes"]["send"]["requests"] == 200
    assert sorted(sandbox.numbers()) == list(range(200))
    lines = outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")
    assert sorted(line["line"] for line in lines if line["status"] == "sent") == list(range(1, 201))
    first = next(line for line in lines if line["id"] == "job-0")
    assert set(first) >= {"delivery_id", "queued_at", "http_status", "attempts", "error", "started_at", "latency_ms"}
    assert (tmp_path / "jobs.jsonl.outcomes.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "jobs.jsonl.outcomes.jsonl.ledger").stat().st_mode & 0o777 == 0o600


def test_the_same_command_again_sends_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(20)])
    send(sandbox, tmp_path, "jobs.jsonl")
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(24, -1, -1)])
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 0
    assert (summary["sent"], summary["duplicate"]) == (5, 20)
    assert len(sandbox.messages) == 25
    assert len(outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")) == 25


def test_bad_lines_never_stop_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    lines = [
        json.dumps(email(1)).encode(),
        b"\xff\xfe not utf-8",
        b"[1, 2]",
        b"{torn",
        b"",
        b'{"id": "x", "kind": "emial", "payload": {}}',
        json.dumps(email(1)).encode(),
        json.dumps(email(1) | {"payload": email(2)["payload"]}).encode(),
        json.dumps(email(3)).encode(),
    ]
    (tmp_path / "jobs.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 1
    assert (summary["read"], summary["sent"], summary["invalid"], summary["duplicate"]) == (8, 2, 5, 1)
    found = {line["line"]: line for line in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")}
    codes = {number: line["error"]["code"] for number, line in found.items() if line["status"] == "invalid"}
    assert codes == {2: "invalid_utf8", 3: "not_an_object", 4: "invalid_json", 6: "unknown_kind", 8: "id_conflict"}
    assert found[7]["status"] == "duplicate"


def test_body_bytes_are_the_payloads_own(sandbox: Sandbox, tmp_path: Path) -> None:
    spaced = b'{ "kind":"email", "payload" : {"to" : "a@b.c",  "transactional_message_id":3, "identifiers":{"id":7},'
    spaced += b' "message_data":{"n": 1.50, "u":"\\u00e9"} } , "id": 17 }'
    (tmp_path / "jobs.jsonl").write_bytes(spaced)
    assert send(sandbox, tmp_path, "jobs.jsonl")[0] == 0
    (message,) = sandbox.messages
    assert message["payload"]["message_data"] == {"n": 1.5, "u": "é"}
    assert outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")[0]["id"] == "17"


def test_several_inputs_gzip_and_stdin(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "a.jsonl", [email(1)])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(email(2)).encode()))
    stdin = json.dumps(email(3)["payload"]).encode()
    status, summary, _ = send(sandbox, tmp_path, "a.jsonl", "b.jsonl.gz", "-", stdin=stdin)
    assert status == 0
    assert summary["outcomes"] == "sender.outcomes.jsonl"
    sources = {line["source"] for line in outcomes(tmp_path / "sender.outcomes.jsonl")}
    assert sources == {"a.jsonl", "b.jsonl.gz", "-"}
    assert sorted(sandbox.numbers()) == [1, 2, 3]


def test_stdin_from_a_file_begins_where_the_shell_left_it(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1), email(2), email(3)])
    script = f"read -r first; {sys.executable} -m sender send --base-url {sandbox.url} {' '.join(FAST)}"
    with (tmp_path / "jobs.jsonl").open("rb") as stdin:
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path,
            env=environment(),
            stdin=stdin,
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert sandbox.numbers() == [2, 3]


def test_a_truncated_gzip_keeps_what_was_read(sandbox: Sandbox, tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(json.dumps(email(n)).encode() + b"\n" for n in range(2000)), 1)
    (tmp_path / "jobs.jsonl.gz").write_bytes(whole[: len(whole) * 3 // 4])
    status, summary, stderr = send(sandbox, tmp_path, "jobs.jsonl.gz")
    assert status == 3
    assert summary["sent"] > 500
    assert summary["read"] == summary["sent"]
    assert b"cut off" in stderr


def test_a_line_on_stdin_starts_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    process = start_sender("send", "--base-url", sandbox.url, *FAST, cwd=tmp_path)
    assert process.stdin is not None
    for number in (1, 2):
        process.stdin.write(json.dumps(email(number)).encode() + b"\n")
        process.stdin.flush()
        deadline = time.monotonic() + 10
        while len(sandbox.messages) < number:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(out)["sent"] == 2


@pytest.mark.parametrize(
    ("arguments", "more", "words"),
    [
        (["nowhere.jsonl"], {}, "nowhere.jsonl cannot be read"),
        (["."], {}, "directory"),
        (["jobs.jsonl", "--kind", "emial"], {}, "is email meant"),
        (["jobs.jsonl", "--timeout", "soon"], {}, "--timeout"),
        (["jobs.jsonl", "--rate", "sned=5"], {}, "no lane sned"),
        (["jobs.jsonl"], {"SENDER_API_KEY": ""}, "no API key"),
        (["jobs.jsonl"], {"SENDER_API_KEY": "wrong-key"}, "refuses the key"),
        (["jobs.jsonl", "--api-key", "abc"], {}, "never an argument"),
        (["jobs.jsonl", "--outcomes", "jobs.jsonl"], {}, "input"),
        (["jobs.jsonl", "--outcomes", "no/where.jsonl"], {}, "cannot be opened"),
        (["array.json", "--format", "lines"], {}, "JSON array"),
        (["jobs.jsonl", "--config", "none.toml"], {}, "none.toml"),
    ],
)
def test_usage_errors_send_nothing(
    sandbox: Sandbox, tmp_path: Path, arguments: list[str], more: dict[str, str], words: str
) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    (tmp_path / "array.json").write_text(json.dumps([email(1)]))
    done = sender("send", *arguments, "--base-url", sandbox.url, *FAST, cwd=tmp_path, **more)
    stderr = done.stderr.decode()
    assert done.returncode == 2, stderr
    assert words in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert "abc" not in stderr.replace("abcde", "")
    assert sandbox.messages == []


def test_an_array_on_stdin_is_a_usage_error(sandbox: Sandbox, tmp_path: Path) -> None:
    done = sender("send", "--base-url", sandbox.url, *FAST, cwd=tmp_path, stdin=json.dumps([email(1)]).encode())
    assert done.returncode == 2
    assert b"JSON array" in done.stderr
    assert sandbox.messages == []


def test_nothing_personal_in_logs_outcomes_and_errors(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = {
        "to": "very.private@example.com",
        "transactional_message_id": 3,
        "identifiers": {"id": "secret-person-4711"},
        "message_data": {"code": "hush-hush", "n": 1},
    }
    jobs = [
        {"id": "a", "payload": secret},
        {"id": "b", "payload": secret | {"to": "very.private"}},
        {"id": "c", "payload": secret | {"attachments": {"private-file.exe": "aGVsbG8="}}},
        {"id": "d", "payload": secret | {"very.private@example.com": 1}},
        {"id": "e", "payload": secret | {"transactional_message_id": 998877}},
    ]
    sandbox.post(
        "faults", fault="status", status=400, count=1, body='{"meta":{"error":"bad address very.private@example.com"}}'
    )
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    _, summary, stderr = send(sandbox, tmp_path, "jobs.jsonl", "--log-level", "debug", "--no-preflight")
    assert summary["rejected"] == 3
    assert "answer" not in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")[-1]
    written = (tmp_path / "jobs.jsonl.outcomes.jsonl").read_bytes() + stderr + json.dumps(summary).encode()
    for word in (b"very.private", b"secret-person-4711", b"hush-hush", b"private-file", b"sandbox-key"):
        assert word not in written


def test_answers_are_kept_on_request(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="status", status=400, count=1, body='{"meta":{"error":"not so"}}')
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    send(sandbox, tmp_path, "jobs.jsonl", "--log-bodies")
    (line,) = outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")
    assert (line["status"], line["answer"]) == ("rejected", '{"meta":{"error":"not so"}}')
    assert line["error"]["message"] == "the API answered 400: not so"


def test_too_long_a_retry_after_halts(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="status", status=429, count=1, retry_after="date:5000")
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(50)])
    status, summary, stderr = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 3
    assert summary["read"] == summary["sent"] + summary["not_started"]
    assert b"longer than --max-wait" in stderr


def test_a_full_disk_stops_the_run_and_loses_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """The ledger may not grow beyond a size here, as on a full disk."""
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(3000)])
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); "
        "from sender.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, "send", "jobs.jsonl", "--base-url", sandbox.url, *FAST]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=50, check=False
    )
    assert done.returncode == 3, done.stderr
    assert b"cannot be written" in done.stderr
    before = len(sandbox.messages)
    assert 0 < before < 3000
    _, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--no-reconcile")
    accepted = sandbox.numbers()
    assert len(accepted) == len(set(accepted))
    assert summary["sent"] + summary["duplicate"] + summary["in_doubt"] == 3000
    assert len(accepted) >= 3000 - summary["in_doubt"]


def test_faults_are_judged_by_how_far_the_request_got(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(60)])
    for fault in ("reset_after", "hang", "cut_body", "garbage", "accept_status"):
        sandbox.post("faults", fault=fault, count=1, status=502)
    sandbox.post("faults", fault="status", status=503, count=1, retry_after="0")
    sandbox.post("faults", fault="status", status=429, count=2)
    sandbox.post("faults", fault="html", count=1)
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--timeout", "1", "--no-reconcile", "--concurrency", "1")
    assert status == 1
    assert (summary["read"], summary["sent"], summary["in_doubt"]) == (60, 54, 6)
    accepted = Counter(sandbox.numbers())
    assert accepted.most_common(1)[0][1] == 1
    doubtful = [line for line in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl") if line["status"] == "in_doubt"]
    assert {line["error"]["code"] for line in doubtful} >= {
        "timeout",
        "connection_reset",
        "answer_unreadable",
        "server_error",
    }
    assert "accepted_id_unknown" in {line["error"]["code"] for line in doubtful}
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--no-reconcile")
    assert (summary["sent"], summary["duplicate"], summary["in_doubt"]) == (0, 54, 6)
    assert Counter(sandbox.numbers()).most_common(1)[0][1] == 1


def test_401_in_a_run_reads_the_key_again(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(5)])
    (tmp_path / "key").write_text("wrong\n")
    status, _, stderr = send(sandbox, tmp_path, "jobs.jsonl", "--no-preflight", "--api-key-file", "key")
    assert status == 3
    assert b"401" in stderr
    process = start_sender(
        "send", "-", "--no-preflight", "--api-key-file", "key", "--base-url", sandbox.url, *FAST, cwd=tmp_path
    )
    (tmp_path / "key").write_text("wrong\n")
    time.sleep(1)
    (tmp_path / "key").write_text("sandbox-key\n")
    out, _ = process.communicate((tmp_path / "jobs.jsonl").read_bytes(), timeout=20)
    assert process.returncode == 0
    assert json.loads(out)["sent"] == 5


def test_a_forbidden_kind_halts_alone(tmp_path: Path) -> None:
    with running_sandbox("--forbid", "push", "--rate-send", "1000") as sandbox:
        push = {"transactional_message_id": 3, "identifiers": {"id": "1"}}
        jobs = [{"id": f"p{n}", "kind": "push", "payload": push} for n in range(10)] + [email(n) for n in range(10)]
        write_jobs(tmp_path / "jobs.jsonl", jobs)
        status, summary, stderr = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 3
    assert (summary["sent"], summary["not_started"], summary["read"]) == (10, 10, 20)
    assert b"push" in stderr


def test_every_kind_reaches_its_endpoint(sandbox: Sandbox, tmp_path: Path) -> None:
    person = {"identifiers": {"id": "1"}}
    phone = {"to": "+15551234567"}
    jobs = [{"kind": kind, "payload": person | {"transactional_message_id": f"by {kind}"} | to}
            for kind, to in (("sms", phone), ("whatsapp", phone), ("push", {}), ("in_app", {}), ("inbox_message", {}))]
    later = int(time.time()) + 3600
    jobs += [
        email(1),
        {"id": "b1", "kind": "broadcast", "broadcast_id": 3, "payload": {"data": {"x": 1}}},
        {"id": "n1", "kind": "newsletter_send", "newsletter_id": 5, "payload": {}},
        {"id": "n2", "kind": "newsletter_schedule", "newsletter_id": 6,
         "payload": {"scheduled_at": later, "timezone": "Europe/Berlin"}},
        {"id": "c1", "kind": "content", "transactional_id": 3, "content_id": 9, "payload": {"body": "<p>hi</p>"}},
    ]
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    status, summary, stderr = send(sandbox, tmp_path, "jobs.jsonl")
    assert (status, summary["sent"]) == (0, 10), stderr
    by_kind = {line["kind"]: line for line in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")}
    assert by_kind["broadcast"]["trigger_id"] == 1
    assert by_kind["newsletter_send"]["newsletter_id"] == 5
    assert by_kind["sms"]["delivery_id"]


def test_a_signal_ends_in_order_and_the_same_command_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(400)])
    process = start_sender(
        "send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "100", "--json", "--no-progress", cwd=tmp_path
    )
    while len(sandbox.messages) < 30:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 3
    first = json.loads(out)
    assert first["sent"] >= 30
    assert first["in_doubt"] == 0
    assert first["read"] == first["sent"] + first["not_started"]
    status, second, _ = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 0
    assert second["duplicate"] == first["sent"]
    assert sorted(sandbox.numbers()) == list(range(400))


def test_what_was_never_read_is_not_started_and_the_next_run_adds_up(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that was stopped told only of the lines that it had come to."""
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(6000)])
    command = ("send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "1000", "--no-progress")
    process = start_sender(*command, "--json", cwd=tmp_path)
    while len(sandbox.messages) < 30:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    first = json.loads(out)
    assert first["read"] == first["sent"] + first["not_started"] == 6000
    done = sender(*command, cwd=tmp_path)
    assert b"in all  6,000  of 6,000 sent" in done.stdout
    assert sorted(sandbox.numbers()) == list(range(6000))


def test_second_signal_leaves_what_was_written_in_doubt(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="hang")
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(5)])
    process = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, *FAST, cwd=tmp_path)
    while len(sandbox.messages) < 5:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 3
    summary = json.loads(out)
    assert (summary["in_doubt"], summary["read"]) == (5, 5)


def test_a_signal_during_the_preflight_starts_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="hang_before", path="/v1/workspaces")
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(5)])
    process = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, *FAST, cwd=tmp_path)
    while not sandbox.lanes["app"]["arrived"]:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 3
    assert json.loads(out)["attempts"] == 0
    assert sandbox.messages == []


def test_kill_and_go_on(sandbox: Sandbox, tmp_path: Path) -> None:
    """kill -9 in the middle, again and again: nothing accepted twice, nothing lost."""
    count = 1500
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(count)])
    for _ in range(4):
        process = start_sender(
            "send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "500", "--json", "--no-progress",
            "--no-preflight", cwd=tmp_path,
        )
        before = len(sandbox.messages)
        while len(sandbox.messages) < before + 100 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.communicate()
    _, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--no-reconcile")
    accepted = sandbox.numbers()
    assert len(set(accepted)) == len(accepted)
    assert summary["read"] == count
    assert summary["sent"] + summary["duplicate"] + summary["in_doubt"] == count
    holding = {line["id"]: line["status"] for line in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")}
    assert len(holding) == count
    for number in range(count):
        if number not in set(accepted):
            assert holding[f"job-{number}"] == "in_doubt"


def test_a_slow_lane_holds_nobody(sandbox: Sandbox, tmp_path: Path) -> None:
    broadcasts = [{"id": f"b{n}", "kind": "broadcast", "broadcast_id": 3, "payload": {}} for n in range(5000)]
    write_jobs(tmp_path / "jobs.jsonl", [*broadcasts, *(email(n) for n in range(300))])
    for arguments, stdin in ((["jobs.jsonl"], None), ([], (tmp_path / "jobs.jsonl").read_bytes())):
        sandbox.post("reset")
        process = start_sender(
            "send", *arguments, "--base-url", sandbox.url, "--rate", "1000", "--json", "--no-progress",
            "--outcomes", f"out{len(arguments)}.jsonl", "--send-again", cwd=tmp_path,
        )
        assert process.stdin is not None
        if stdin:
            process.stdin.write(stdin)
            process.stdin.flush()
        deadline = time.monotonic() + 20
        while len(sandbox.messages) < 300:
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
        summary = json.loads(out)
        assert summary["read"] == summary["sent"] + summary["not_started"]


def test_limit_and_dry_run(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(30)])
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--dry-run")
    assert (status, summary["not_started"], summary["read"]) == (0, 30, 30)
    assert not list(tmp_path.glob("*.ledger*"))
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--limit", "10")
    assert (status, summary["sent"]) == (0, 10)
    status, summary, _ = send(sandbox, tmp_path, "jobs.jsonl", "--dry-run")
    assert (status, summary["not_started"], summary["duplicate"]) == (0, 20, 10)
    assert len(sandbox.messages) == 10


def test_a_ledger_belongs_to_one_api_and_one_run(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    send(sandbox, tmp_path, "jobs.jsonl")
    with running_sandbox() as other:
        status, _, stderr = send(other, tmp_path, "jobs.jsonl")
    assert status == 2
    assert sandbox.url.removeprefix("http://").encode() in stderr
    holding = start_sender(
        "send", "-", "--outcomes", "jobs.jsonl.outcomes.jsonl", "--base-url", sandbox.url, *FAST, cwd=tmp_path
    )
    assert holding.stdin is not None
    holding.stdin.write(json.dumps(email(2)).encode() + b"\n")
    holding.stdin.flush()
    while len(sandbox.messages) < 2:
        time.sleep(0.05)
    status, _, stderr = send(sandbox, tmp_path, "jobs.jsonl")
    assert status == 2
    assert b"in use by another run" in stderr
    holding.communicate(timeout=10)


def test_a_torn_outcome_log_is_repaired(sandbox: Sandbox, tmp_path: Path) -> None:
    log = tmp_path / "jobs.jsonl.outcomes.jsonl"
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    send(sandbox, tmp_path, "jobs.jsonl")
    with log.open("ab") as file:
        file.write(b'{"id":"job-2","kind":"em')
    write_jobs(tmp_path / "jobs.jsonl", [email(1), email(2)])
    assert send(sandbox, tmp_path, "jobs.jsonl")[0] == 0
    assert [line["id"] for line in outcomes(log)] == ["job-1", "job-2"]


def test_strict_limit_is_never_exceeded(tmp_path: Path) -> None:
    with running_sandbox("--latency", "20") as sandbox:
        write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(450)])
        done = sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--json", cwd=tmp_path)
        lane = sandbox.lanes["send"]
    assert done.returncode == 0, done.stderr
    assert lane["max_in_window"] <= 100
    assert lane["rejected_429"] == 0
