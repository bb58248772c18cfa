"""The command against a real sandbox: figures, exit statuses, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from sender.bench.proof import Proof
from sender.bench.proof_text import told
from tests.support.processes import SENDER, Sandbox, environment, running_sandbox, sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "0") as running:
        yield running


def bench(sandbox: Sandbox | None, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    target = ("--base-url", sandbox.url) if sandbox else ()
    return sender("bench", *target, *arguments, cwd=cwd, **more)


def test_a_benchmark_and_its_comparison(sandbox: Sandbox, tmp_path: Path) -> None:
    before = sandbox.lanes["send"]["arrived"]
    arguments = ("--rate", "100", "--duration", "1", "--warm-up", "0.5", "--save", "a.json")
    done = bench(sandbox, *arguments, "--json", "--threshold", "errors<=0", "--threshold", "max<20s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["reached"]["started"] == result["reached"]["ok"] == 100
    assert sandbox.lanes["send"]["arrived"] - before == 150
    assert result["latency_ms"]["p50"] >= result["service_ms"]["p50"] > 0
    assert json.loads((tmp_path / "a.json").read_text()) == result
    assert b"sandbox-key" not in done.stdout
    compared = sender("bench", "compare", "a.json", "a.json", "--threshold", "p50<1us", cwd=tmp_path)
    assert compared.returncode == 1
    assert b"1.000" in compared.stdout
    assert b"p50<1us does not hold" in compared.stderr


def test_every_request_is_distinct(sandbox: Sandbox, tmp_path: Path) -> None:
    payload = {"to": "p{{bench.n}}@example.com", "transactional_message_id": 3, "identifiers": {"id": "{{bench.n}}"},
               "message_data": {"mark": "{{bench.run}}"}}
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps({"kind": "email", "payload": payload, "id": n}) + "\n"
                                                 for n in range(3)))
    done = bench(sandbox, "--jobs", "jobs.jsonl", "--duration", "0.5", "--processes", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    messages = [one["payload"] for one in sandbox.messages if "mark" in one["payload"]["message_data"]]
    assert len({message["to"] for message in messages}) == len(messages) == 50
    assert len({message["message_data"]["mark"] for message in messages}) == 1


def test_a_rate_that_is_not_reached(tmp_path: Path) -> None:
    with running_sandbox("--latency", "200", "--rate-send", "0") as slow:
        arguments = ("--rate", "200", "--duration", "1", "--concurrency", "4")
        done = bench(slow, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert b"THE RATE WAS NOT REACHED" in done.stdout
    assert b"all 4 hands were full" in done.stdout
    assert b"the rate was not reached" in done.stderr


def test_refusals_are_errors(tmp_path: Path) -> None:
    with running_sandbox("--rate-send", "20") as strict:
        done = bench(strict, "--rate", "100", "--duration", "1", "--threshold", "errors<1%", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["reached"]["http_429"] >= 60
    assert result["error_codes"] == {"rate_limited": result["reached"]["http_429"]}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_ends_it_with_its_figures(sandbox: Sandbox, tmp_path: Path, processes: int) -> None:
    command = [*SENDER, "bench", "--base-url", sandbox.url, "--duration", "40", "--json", "--processes", str(processes)]
    before = sandbox.lanes["send"]["arrived"]
    running = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, start_new_session=True)
    while sandbox.lanes["send"]["arrived"] < before + 30:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, _ = running.communicate(timeout=15)
    assert running.returncode == 3
    result: dict[str, Any] = json.loads(out)
    assert result["reached"]["stopped"]
    assert result["reached"]["not_started"] == 0
    assert result["reached"]["ok"] >= 30
    assert not result["reached"]["rate_reached"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), b"--base-url"), (("--base-url", "https://api.customer.io"), b"--allow-vendor-host"),
        (("--base-url", "http://example.com"), b"plain http"),
        (("--base-url", "http://127.0.0.1:1", "--rate", "0"), b"--rate"),
        (("--base-url", "http://127.0.0.1:1", "--threshold", "p99<5"), b"needs a unit"),
        (("--base-url", "http://127.0.0.1:1", "--jobs", "none"), b"none"),
        (("compare", "a"), b"compare"), (("x",), b"compare"),
        (("--base-url", "http://127.0.0.1:1", "--ramp", "1", "--rate", "max"), b"--ramp"),
        (("--base-url", "http://127.0.0.1:1", "--processes", "9", "--concurrency", "4"), b"--processes"),
        (("--prove-pacing", "--scenario", "mars"), b"plain, busy"),
        (("--prove-pacing", "--rate", "max"), b"--rate"),
        (("--prove-pacing", "--scenario", "jitter", "--base-url", "http://127.0.0.1:1"), b"sandbox of our own"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: bytes) -> None:
    done = bench(None, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def failed_at_once(done: subprocess.CompletedProcess[bytes], said: bytes) -> None:
    """Exit 1 with one sentence: no table, no percentiles, no threshold that holds."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"not one request succeeded" in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_wrong_key_fails_at_once(sandbox: Sandbox, tmp_path: Path, processes: str) -> None:
    before = sandbox.lanes["send"]["arrived"]
    done = bench(sandbox, "--duration", "600", "--processes", processes, cwd=tmp_path, SENDER_API_KEY="wrong")
    failed_at_once(done, b"refuses the key")
    assert b"wrong" not in done.stderr
    assert sandbox.lanes["send"]["arrived"] - before < 100


@pytest.mark.parametrize("more", [("--threshold", "p99<100ms"), ("--rate", "max"), ("--processes", "2"), ("--json",)])
def test_nobody_listens(tmp_path: Path, more: tuple[str, ...]) -> None:
    """It printed `reached 300.0 (100 %)` and `ok p99<100ms`, and ended with 0."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes the port meanwhile
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = sender("bench", "--base-url", url, "--duration", "600", *more, cwd=tmp_path)
    failed_at_once(done, b"nothing listens at " + url.encode())


def test_a_wrong_path_fails_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    done = sender("bench", "--base-url", f"{sandbox.url}/v2", "--duration", "600", cwd=tmp_path)
    failed_at_once(done, b"has no such path (404)")


def test_a_run_of_errors_alone_fails(tmp_path: Path) -> None:
    with running_sandbox("--rate-send", "0") as broken:
        broken.post("faults", fault="status_500")
        done = bench(broken, "--rate", "50", "--duration", "1", "--threshold", "errors<=100%", "--threshold",
                     "p99<20s", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert b"not one request succeeded: the API answered 500" in done.stderr
    assert result["reached"]["rate"] == result["reached"]["share"] == result["reached"]["ok"] == 0
    assert result["reached"]["errors"] == result["reached"]["started"] == 50
    assert set(result["latency_ms"].values()) == {None}
    assert result["error_ms"]["p50"] > 0
    assert result["curve"] == []


def test_errors_fail_it_without_any_threshold(tmp_path: Path) -> None:
    with running_sandbox("--rate-send", "20") as strict:
        done = bench(strict, "--rate", "100", "--duration", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert b"errors<1% does not hold" in done.stderr
    assert b"MISSED  errors<1%" in done.stdout
    assert b"errors, from the planned start" in done.stdout


def test_the_proof(tmp_path: Path) -> None:
    done = sender("bench", "--prove-pacing", "--scenario", "plain", "--scenario", "idle", "--duration", "1.5", "--json",
                  cwd=tmp_path)
    plain, idle = json.loads(done.stdout)
    assert done.returncode in (0, 1), "how quick the machine is decides"
    for proof in (plain, idle):
        assert proof["requests"] == 150 + proof["http_429"]
        assert proof["most_written"] <= 100
        assert proof["asked"] == 100
        assert 50 < proof["reached"] <= 101
        assert proof["errors"] == 0


def test_the_proof_of_a_running_sandbox(tmp_path: Path) -> None:
    with running_sandbox() as strict:
        done = bench(strict, "--prove-pacing", "--scenario", "plain", "--duration", "1", cwd=tmp_path)
        assert done.returncode in (0, 1)
        assert b"plain" in done.stdout
        assert strict.lanes["send"]["arrived"] >= 100


def make_proof(**more: Any) -> Proof:
    values: dict[str, Any] = {
        "scenario": "plain", "told": "", "asked": 100.0, "reached": 99.8, "limit": 100, "most_written": 100,
        "most_arrived": 100, "gaps_ms": {"p1": 1, "p50": 10, "p99": 12}, "requests": 2000, "http_429": 0, "errors": 0,
        "guard_spread_ms": 0.0, "guard_share": 1.0, "wire": False,
    }
    return Proof(**values | more)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, "ok"), ({"reached": 99.4}, "TOO SLOW"), ({"most_arrived": 101}, "CEILING BROKEN"),
        ({"most_written": 101, "wire": True}, "CEILING BROKEN"), ({"errors": 1}, "ERRORS"),
        ({"most_arrived": 110, "wire": True, "reached": 90.0}, "ok"),
    ],
)
def test_what_a_proof_says(more: dict[str, Any], word: str) -> None:
    proof = make_proof(**more)
    assert proof.holds is (word == "ok")
    assert word in told([proof])


def test_a_scenario_tells_of_its_stages_and_kinds(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "day.toml").write_text(
        "[[stage]]\nname = 'rise'\nseconds = 0.5\nfrom_rate = 0\nrate = 100\nwarm_up = true\n"
        "[[stage]]\nname = 'day'\nseconds = 1\nrate = 100\nmix = { email = 3, sms = 1 }\n")
    done = bench(sandbox, "--scenario", "day.toml", "--processes", "2", "--save", "a.json", "--k6-summary", "k6.json",
                 "--prometheus", "bench.prom", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"rise" in done.stdout
    result = json.loads((tmp_path / "a.json").read_text())
    assert [(one["stage"], one["kind"], one["ok"]) for one in result["parts"]] \
        == [("rise", "email", 25), ("day", "email", 75), ("day", "sms", 25)]
    assert result["reached"]["ok"] == 100
    assert json.loads((tmp_path / "k6.json").read_text())["metrics"]["http_reqs"]["count"] == 100
    assert "sender_bench_running" in (tmp_path / "bench.prom").read_text()


def test_users_ask_again_when_they_have_thought(sandbox: Sandbox, tmp_path: Path) -> None:
    done = bench(sandbox, "--users", "4", "--think", "100ms", "--duration", "1", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (result["asked"]["users"], result["asked"]["think_s"]) == (4, 0.1)
    assert 4 <= result["reached"]["ok"] <= 40


def test_repeats_stand_in_the_result(sandbox: Sandbox, tmp_path: Path) -> None:
    done = bench(sandbox, "--rate", "100", "--duration", "0.5", "--repeat", "3", "--save", "a.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"3 runs" in done.stdout
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["reached"]["ok"] == 150
    assert result["reached"]["rate"] == pytest.approx(100, rel=0.01)
    assert len(result["repeats"]) == 3
    compared = sender("bench", "compare", "a.json", "a.json", cwd=tmp_path)
    assert compared.returncode == 0
    assert b"no difference shown" in compared.stdout


def test_the_highest_rate_that_holds_is_found(tmp_path: Path) -> None:
    """The server takes 100 in any second, and refuses what is above."""
    with running_sandbox("--rate-send", "100") as strict:
        done = bench(strict, "--find", "errors<5%", "--rate", "80", "--duration", "1", "--warm-up", "0.5", "--json",
                     "--save", "best.json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert 40 <= found["holds"] <= 110
    assert found["fails"] is None or found["fails"] > found["holds"]
    assert b"holds" in done.stderr
    assert json.loads((tmp_path / "best.json").read_text())["asked"]["rate"] == found["holds"]


def test_a_search_without_a_server_ends_at_once(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = sender("bench", "--base-url", url, "--find", "p99<50ms", cwd=tmp_path)
    failed_at_once(done, b"nothing listens at ")


def test_a_file_that_cannot_be_written_is_told_before_the_first_request(sandbox: Sandbox, tmp_path: Path) -> None:
    before = sandbox.lanes["send"]["arrived"]
    done = bench(sandbox, "--prometheus", "none/bench.prom", cwd=tmp_path)
    assert done.returncode != 0
    assert b"--prometheus: none/" in done.stderr
    assert sandbox.lanes["send"]["arrived"] == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scenario", "none.toml"), b"none.toml cannot be read"),
        (("--scenario", "a", "--scenario", "b"), b"one file"),
        (("--scenario", "x", "--users", "2"), b"leave --ramp"), (("--think", "1"), b"--users"),
        (("--find", "p99<50ms", "--users", "2"), b"--find searches"), (("--find", "p99<5"), b"needs a unit"),
        (("--users", "0"), b"--users"), (("--repeat", "x"), b"--repeat"), (("--tolerance", "5"), b"--tolerance"),
    ],
)
def test_what_the_newer_options_refuse(tmp_path: Path, arguments: tuple[str, ...], said: bytes) -> None:
    done = bench(None, "--base-url", "http://127.0.0.1:1", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
