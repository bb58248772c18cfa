"""A few jobs first: which ones, what is told of them, who says that the others follow."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.follow.delivery_log import DeliveryLog
from sender.send.canary import Sample, command_that_goes_on
from sender.send.canary_fates import check_until
from tests.support.processes import SENDER, email, environment, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    fates = ("--visibility-lag", "0", "--deliver-after", "0", "--fate", "bounced=100%:domain=bad.example")
    with running_sandbox("--rate-send", "100000", "--rate-app", "1000", "--rate-trigger", "5", *fates) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    shared.heal()
    return shared


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 9))
def test_the_first_the_last_and_others_by_chance(size: int, number: int, seed: int) -> None:
    def sample() -> frozenset[tuple[str, int]]:
        found = Sample(number, seed)
        for line in range(size):
            found.see(("f", line))
        return found.places

    places = sample()
    assert len(places) == min(size, number)
    assert places <= {("f", line) for line in range(size)}
    assert places == sample()
    if size and number > 1:
        assert {("f", 0), ("f", size - 1)} <= places


def test_every_job_between_is_as_likely_as_any_other() -> None:
    counts: Counter[int] = Counter()
    for seed in range(2000):
        found = Sample(5, seed)
        for line in range(12):
            found.see(("f", line))
        counts.update(line for _, line in found.places)
    assert counts[0] == counts[11] == 2000
    assert all(500 < counts[line] < 700 for line in range(1, 11)), "3 of 10 each time"


def command(sandbox: Sandbox, *arguments: str) -> list[str]:
    return ["send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "5000", "--no-reconcile", *arguments]


def send(sandbox: Sandbox, folder: Path, *arguments: str, **more: Any) -> tuple[int, dict[str, Any], str]:
    done = run_sender(*command(sandbox, "--json", *arguments), cwd=folder, **more)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.decode()


def test_without_a_terminal_it_stops_and_names_the_command_that_goes_on(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(400)])
    status, summary, told = send(sandbox, tmp_path, "--canary", "50")
    assert (status, summary["sent"], summary["read"], summary["not_started"]) == (3, 50, 400, 350)
    numbers = sandbox.numbers()
    assert {0, 399} <= set(numbers)
    assert len(set(numbers)) == len(numbers) == 50
    assert "canary: 50 of 50 sent" in told
    following = told.partition("To send them: ")[2].splitlines()[0]
    assert "--canary" not in following
    again, summary, told = send(sandbox, tmp_path, "--canary", "50")
    assert (again, summary["sent"], summary["duplicate"]) == (3, 0, 50), "the same canary, and nothing new"
    assert "canary: 50 of 50 sent, 50 of them before" in told
    done = run_sender(*shlex.split(following)[1:], cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["sent"], summary["duplicate"]) == (0, 350, 50)
    assert Counter(sandbox.numbers()) == Counter(range(400))


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_a_sample_knows_whether_it_is_all(number: int) -> None:
    sample = Sample(number, 0)
    for line in range(12):
        sample.see(("f", line))
        assert sample.is_all is (len(sample.places) == line + 1)


def test_a_canary_as_large_as_the_input_has_nobody_to_wait_for(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = [email(n) for n in range(8)]
    jobs[3]["payload"]["to"] = "nobody"
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    status, summary, told = send(sandbox, tmp_path, "--canary", "7")
    assert (status, summary["sent"], summary["invalid"], summary["not_started"]) == (1, 7, 1, 0)
    assert "To send them" not in told


def test_it_goes_on_by_itself_after_the_wait(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(100)])
    status, summary, _ = send(sandbox, tmp_path, "--canary", "10", "--canary-wait", "0.2")
    assert (status, summary["read"], summary["sent"], summary["duplicate"]) == (0, 100, 100, 0)
    assert Counter(sandbox.numbers()) == Counter(range(100))
    assert 99 in sandbox.numbers()[:10]


def test_a_canary_that_was_not_all_sent_does_not_go_on_by_itself(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="status_400", count=2)
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(100)])
    status, summary, told = send(sandbox, tmp_path, "--canary", "10", "--canary-wait", "0.2")
    assert (status, summary["sent"], summary["rejected"], summary["not_started"]) == (3, 8, 2, 90)
    assert "canary: 8 of 10 sent" in told
    assert "rejected [api_error]" in told
    assert "person" not in told


def test_it_chooses_among_those_that_can_be_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = [email(n) for n in range(40)]
    jobs[0]["payload"]["to"] = "nobody"
    (tmp_path / "out").write_text("person-39\n")
    trigger = {"id": "b", "kind": "broadcast", "broadcast_id": 1, "payload": {"recipients": {"segment": {"id": 1}}}}
    write_jobs(tmp_path / "jobs.jsonl", [*jobs, trigger])
    status, summary, _ = send(
        sandbox, tmp_path, "--canary", "5", "--canary-wait", "0.1", "--exclude", "out", "--rate", "trigger=5",
        "--broadcast-wait", "0",
    )
    assert (status, summary["sent"], summary["invalid"], summary["skipped"], summary["read"]) == (1, 39, 1, 1, 41)
    assert 1 in sandbox.numbers()[:4]


def test_a_stream_has_no_canary(sandbox: Sandbox, tmp_path: Path) -> None:
    done = run_sender(
        "send", "--canary", "5", "--base-url", sandbox.url, stdin=json.dumps(email(1)).encode(), cwd=tmp_path
    )
    assert done.returncode == 2
    assert b"--canary chooses from files" in done.stderr
    assert b"Warning" not in done.stderr
    assert sandbox.messages == []


@pytest.mark.parametrize(("answer", "status", "sent"), [(b"y\n", 0, 60), (b"n\n", 3, 5)])
def test_on_a_terminal_somebody_is_asked(
    answer: bytes, status: int, sent: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(60)])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SENDER, *command(sandbox, "--canary", "5")], cwd=tmp_path, env=environment(TERM="xterm"), stdin=theirs,
        stdout=theirs, stderr=theirs, close_fds=True, start_new_session=True,
    )
    os.close(theirs)
    try:
        read_until(ours, b"Send the others too?")
        assert len(sandbox.messages) == 5
        os.write(ours, answer)
        read_until(ours, b"exit")
        assert process.wait(30) == status
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert len(sandbox.messages) == sent


def read_until(handle: int, wanted: bytes) -> None:
    seen, until = b"", time.monotonic() + 30
    while wanted not in seen:
        assert time.monotonic() < until, seen
        if select.select([handle], [], [], 1)[0]:
            seen += os.read(handle, 4096)


def test_the_command_that_goes_on_keeps_everything_else() -> None:
    given = ["send", "my jobs.jsonl", "--canary=50", "--canary-wait", "9", "--state", "redis://u:secret@h/1"]
    told = command_that_goes_on(given)
    assert told.startswith("sender send 'my jobs.jsonl' --state")
    assert "secret" not in told
    assert command_that_goes_on(["send", "a"]) == "sender send a --canary 0"


RULE = ("--canary", "10", "--until", "delivered>=95%,bounced<2%", "--for", "20")


def test_it_goes_on_when_the_canary_has_arrived(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(100)])
    status, summary, told = send(sandbox, tmp_path, *RULE)
    assert (status, summary["sent"], summary["not_started"]) == (0, 100, 0)
    assert "canary: of 10 deliveries 10 delivered: delivered>=95%,bounced<2% holds" in told
    assert (tmp_path / "jobs.jsonl.deliveries.jsonl").read_text().count("\n") == 10


def test_a_canary_that_bounces_stops_the_others(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = [email(n) for n in range(100)]
    for number, job in enumerate(jobs):
        job["payload"]["to"] = f"person{number}@bad.example"
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    status, summary, told = send(sandbox, tmp_path, *RULE)
    assert (status, summary["sent"], summary["not_started"]) == (3, 10, 90)
    assert "canary: of 10 deliveries 0 delivered, 10 bounced: delivered>=95%,bounced<2% does not hold" in told
    following = told.partition("To send them: ")[2].splitlines()[0]
    assert not {"--canary", "--until", "--for"} & set(shlex.split(following))
    again, summary, told = send(sandbox, tmp_path, *RULE)
    assert (again, summary["sent"], summary["duplicate"]) == (3, 0, 10), "what was learned before holds"


def test_a_canary_that_was_not_all_accepted_is_not_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.post("faults", fault="status_400", count=2)
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(100)])
    status, summary, told = send(sandbox, tmp_path, *RULE)
    assert (status, summary["sent"], summary["rejected"], summary["not_started"]) == (3, 8, 2, 90)
    assert "deliveries" not in told


def test_a_rule_that_nobody_could_tell_of_is_refused(tmp_path: Path) -> None:
    outcomes = tmp_path / "jobs.jsonl.outcomes.jsonl"
    with pytest.raises(UsageError, match="the key may not read"):
        check_until("delivered>=95%", outcomes, readable=False)
    with pytest.raises(UsageError, match="--until takes"):
        check_until("arrived>=95%", outcomes, readable=True)
    check_until("", outcomes, readable=False)
    check_until("delivered>=95%", outcomes, readable=True)


def test_a_canary_that_somebody_else_follows_is_refused_before_anything_is_sent(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """It was sent, and then ended with exit 2: nothing was sent."""
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(100)])
    other = DeliveryLog.open(tmp_path / "jobs.jsonl.deliveries.jsonl")
    try:
        status, _, told = send(sandbox, tmp_path, *RULE)
    finally:
        other.close()
    assert status == 2
    assert "in use by a sender follow" in told
    assert sandbox.lanes["send"]["arrived"] == 0


def test_a_rule_without_a_canary_is_refused(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    done = run_sender("send", "jobs.jsonl", "--until", "delivered>=95%", cwd=tmp_path)
    assert done.returncode == 2
    assert b"--canary" in done.stderr
