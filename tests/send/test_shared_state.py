"""`sender send --state`: several runs, one limit and one memory."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.databases import Database, PostgresServer, running
from tests.support.processes import email, outcomes, running_sandbox, sender, start_sender, write_jobs
from tests.support.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    yield from running(PostgresServer())


@pytest.fixture
def state(redis: RedisServer, sandbox: Sandbox, request: pytest.FixtureRequest) -> str:
    """A state of its own for each test, and a sandbox that forgot the others."""
    sandbox.post("reset")
    sandbox.heal()
    state.taken += 1  # type: ignore[attr-defined]
    if getattr(request, "param", "redis") == "postgres":
        url: str = request.getfixturevalue("postgres").url
        return f"{url}?schema=s{state.taken}"  # type: ignore[attr-defined]
    redis.use_send_lane(state.taken)  # type: ignore[attr-defined]
    return f"{redis.url.removesuffix('/0')}/{state.taken}"  # type: ignore[attr-defined]


state.taken = 0  # type: ignore[attr-defined]
on_both = pytest.mark.parametrize("state", ["redis", "postgres"], indirect=True)


def options(sandbox: Sandbox, state: str, *more: str) -> list[str]:
    return ["--base-url", sandbox.url, "--state", state, "--no-progress", "--json", *more]


@on_both
def test_two_runs_send_each_job_once_within_one_limit(tmp_path: Path, sandbox: Sandbox, state: str) -> None:
    for name, numbers in (("a", range(160)), ("b", range(80, 240))):
        write_jobs(tmp_path / f"{name}.jsonl", [email(number) for number in numbers])
    runs = [start_sender("send", f"{name}.jsonl", *options(sandbox, state), cwd=tmp_path) for name in "ab"]
    summaries = []
    for run in runs:
        out, err = run.communicate(timeout=50)
        assert run.returncode == 0, err.decode()
        summaries.append(json.loads(out))
    assert sorted(sandbox.numbers()) == list(range(240))
    assert sandbox.lanes["send"]["max_in_window"] <= 100
    assert sum(summary["sent"] for summary in summaries) == 240
    assert sum(summary["duplicate"] for summary in summaries) == 80
    told = Counter(one["id"] for name in "ab" for one in outcomes(tmp_path / f"{name}.jsonl.outcomes.jsonl"))
    assert set(told.values()) == {1}


@on_both
def test_what_a_killed_run_held_is_in_doubt_for_the_next(tmp_path: Path, sandbox: Sandbox, state: str) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(number) for number in range(60)])
    sandbox.post("faults", lane="send", fault="hang", count=3)
    arguments = ["send", "jobs.jsonl", *options(sandbox, state, "--rate", "20", "--no-reconcile")]
    run = start_sender(*arguments, cwd=tmp_path)
    while len(sandbox.numbers()) < 20:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    again = sender(*arguments, cwd=tmp_path)
    assert again.returncode == 1, again.stderr.decode()
    summary = json.loads(again.stdout)
    assert summary["not_started"] == 0, "it waits until it is known that the other is dead"
    assert summary["in_doubt"] >= 3
    assert summary["sent"] + summary["duplicate"] + summary["in_doubt"] == 60
    numbers = Counter(sandbox.numbers())
    assert max(numbers.values()) == 1
    known = {one["id"]: one["status"] for one in outcomes(tmp_path / "jobs.jsonl.outcomes.jsonl")}
    assert set(known) == {f"job-{number}" for number in range(60)}
    assert {name for name, status in known.items() if status == "sent"} <= {f"job-{number}" for number in numbers}


def test_a_run_beside_others_takes_their_rate(tmp_path: Path, sandbox: Sandbox, state: str) -> None:
    write_jobs(tmp_path / "first.jsonl", [email(1)])
    write_jobs(tmp_path / "second.jsonl", [email(number) for number in range(2, 25)])
    assert sender("send", "first.jsonl", *options(sandbox, state, "--rate", "8"), cwd=tmp_path).returncode == 0
    second = sender("send", "second.jsonl", *options(sandbox, state), cwd=tmp_path)
    assert json.loads(second.stdout)["lanes"]["send"]["max_in_1s"] <= 8
    own = sender("send", "second.jsonl", *options(sandbox, state, "--rate", "99"), cwd=tmp_path)
    assert json.loads(own.stdout)["duplicate"] == 23


def test_a_log_that_is_older_than_the_state_is_refused(
    tmp_path: Path, sandbox: Sandbox, state: str, redis: RedisServer
) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(number) for number in range(5)])
    assert sender("send", "jobs.jsonl", *options(sandbox, state), cwd=tmp_path).returncode == 0
    other = f"{redis.url.removesuffix('/0')}/15"
    lost = sender("send", "jobs.jsonl", *options(sandbox, other), cwd=tmp_path)
    assert lost.returncode == 2
    assert b"is older than the state at" in lost.stderr
    assert len(sandbox.numbers()) == 5


@on_both
def test_reconcile_settles_in_the_shared_state(tmp_path: Path, sandbox: Sandbox, state: str) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(number) for number in range(10)])
    sandbox.post("faults", lane="send", fault="reset_after", count=2)
    lag = ("--reconcile-lag", "1")
    sent = sender("send", "jobs.jsonl", *options(sandbox, state, "--rate", "4", "--no-reconcile"), cwd=tmp_path)
    assert json.loads(sent.stdout)["in_doubt"] == 2, sent.stderr.decode()
    settling = [one for one in options(sandbox, state) if one != "--no-progress"]
    done = sender("reconcile", "jobs.jsonl", *settling, *lag, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["settled"] == 2
    again = sender("send", "jobs.jsonl", *options(sandbox, state), cwd=tmp_path)
    assert json.loads(again.stdout)["duplicate"] == 10
    assert len(sandbox.numbers()) == 10


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--ledger", "x"), "--state and --ledger exclude each other"),
        (("--dry-run",), "--dry-run cannot look into a shared state"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    (tmp_path / "jobs.jsonl").touch()
    refused = sender("send", "jobs.jsonl", "--state", "redis://127.0.0.1:1/0", *more, cwd=tmp_path)
    assert refused.returncode == 2
    assert words in refused.stderr.decode()


def test_a_state_that_is_away_at_the_start_is_a_usage_error(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    refused = sender("send", "jobs.jsonl", "--state", "redis://:s3cret@127.0.0.1:1/0", cwd=tmp_path)
    assert refused.returncode == 2
    assert b"cannot be used" in refused.stderr
    assert b"s3cret" not in refused.stderr
