"""What runs in the time there is, what is a target, what fell, and what a load generator said."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import engine
import generators
import pytest
import quick
import results
import run_all
import targets
import tools
from common import ROOT, write_emails
from processes import process, script
from rivals import reports
from rivals.commands import Tools

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000


@pytest.mark.parametrize("minutes", [3, 5, 10, 20, 40, 60, 90])
def test_what_is_planned_fits_into_the_time(minutes: int) -> None:
    planned = list(run_all.plan(list(run_all.STEPS), minutes))
    assert sum(step.minutes * share for step, share in planned) <= minutes
    assert all(step.least <= step.minutes * share + 1e-9 <= step.minutes + 1e-9 for step, share in planned)
    assert {step.name for step, _ in planned} | {step.name for step in run_all.left_out(list(run_all.STEPS), planned)} \
        == {step.name for step in run_all.STEPS}


def test_an_hour_is_enough_for_all_of_it() -> None:
    planned = list(run_all.plan(list(run_all.STEPS), 60))
    assert [share for _, share in planned] == [1.0] * len(run_all.STEPS)


def test_every_step_is_a_script_that_takes_its_arguments() -> None:
    for step in run_all.STEPS:
        path = ROOT / "benchmarks" / f"{step.name}.py"
        assert path.exists()
        for option in step.arguments(1.0):
            assert not option.startswith("--") or option == "--save" or f'"{option}"' in path.read_text(), option


def test_a_step_that_fails_or_takes_too_long_is_told_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run_all.run(run_all.Step("memory", 1, 1, lambda _: ["nonsense"]), 1)
    assert "FAILED: 1" in capsys.readouterr().err
    monkeypatch.setattr(run_all, "LATE", -0.999)  # 0.06 s
    assert not run_all.run(run_all.Step("pacing", 1, 1, lambda _: []), 1.0)
    assert "FAILED: it took too long" in capsys.readouterr().err


def test_a_target_is_judged_by_its_cell() -> None:
    page = ("<!-- section: start -->\n## Start-up\n\n`python benchmarks/startup.py --save`, 2026\n\n"
            "| what | seconds |\n| --- | ---: |\n| first request | 0.473 |\n| sender --help | – |\n"
            "<!-- end: start -->\n")
    table = targets.table(page)
    assert re.search(r"\| 0\.473 \| missed: [^|]+ \| `python benchmarks/startup\.py --save` \|", table)
    assert "| – | not measured | `python benchmarks/startup.py --save` |" in table
    assert targets.judged("start", "first request", "seconds", 0.35) == "at most 0.35: met"
    assert targets.judged("start", "first request", "seconds", 0.36) == "at most 0.35: missed"
    assert targets.judged("start", "nothing of the kind", "seconds", 1) == ""


def test_figures_are_read_as_they_stand_in_a_cell() -> None:
    assert [targets.number(cell) for cell in ("7,410", "99.5%", "0.53", ".5 s")] == [7410, 99.5, 0.53, 0.5]
    with pytest.raises(ValueError, match="figure"):
        targets.number("not installed")


def test_every_target_names_a_section_that_some_step_writes() -> None:
    for target in targets.read():
        assert (target.at_least is None) != (target.at_most is None), target.what
        assert target.cell[0].partition(" > ")[0] in results.ORDER


def test_what_fell_is_named() -> None:
    expected = {"engine": 1.0, "bench": 2.0}
    assert quick.fallen({"engine": 0.86, "bench": 1.69, "new": 0.1}, expected) == ["bench"]
    assert quick.tomllib.loads(quick.written(expected))["ratio"] == expected


def test_expected_ratios_are_those_that_are_measured() -> None:
    names = set(quick.tomllib.loads(quick.EXPECTED.read_text())["ratio"])
    assert len(names) >= 8
    assert {name.rpartition(": ")[2] for name in names} >= {"sender, line to job", "reached at 100 a second"}


@pytest.mark.parametrize(("program", "loop"), [("bare", "uvloop"), ("without", "asyncio"), ("full", "uvloop")])
def test_the_engine_is_measured_from_its_first_to_its_last_job(program: str, loop: str, tmp_path: Path) -> None:
    """It measured by functions of the run that had gone, and failed."""
    write_emails(tmp_path / "jobs.jsonl", 30)
    with engine.server() as url:
        figure = engine.measure(url, tmp_path / "jobs.jsonl", program, loop)
    assert figure.cpu_s > 0
    assert 0 < figure.seconds < 30


def test_lateness_is_seen_from_the_quickest_request() -> None:
    stamps = [number * MS for number in range(2000)]
    even = generators.fixed(stamps, 1000, None)
    assert even.reached == pytest.approx(1.0)
    assert (even.late_p50, even.late_p99) == pytest.approx((0.0, 0.0), abs=1e-6)
    bursts = generators.fixed([(stamp // (50 * MS) + 1) * 50 * MS for stamp in stamps], 1000, None)
    assert bursts.late_p99 == pytest.approx(49, abs=1)
    slow = generators.fixed([2 * stamp for stamp in stamps], 1000, 1.0)
    assert slow.reached == pytest.approx(0.5)
    assert slow.late_p99 > 1000


def test_the_true_p99_of_a_server_that_stands_still() -> None:
    assert generators.true_p99() == pytest.approx(942, abs=4)


def test_a_server_that_answers_wrongly_is_seen_by_our_own() -> None:
    with process(script("yardstick", "--wrong", "3"), talks=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        statuses = []
        for _ in range(6):
            request = urllib.request.Request(f"{url}/v1/send/email", data=b"{}", method="POST")
            try:
                with urllib.request.urlopen(request) as answer:
                    statuses.append((answer.status, json.load(answer).get("delivery_id") is not None))
            except urllib.error.HTTPError as error:
                statuses.append((error.code, False))
                error.close()
        with urllib.request.urlopen(url) as answer:
            assert len(json.load(answer)) == 6
    assert sorted(statuses) == [(200, False), (200, True), (200, True), (200, True), (200, True), (500, False)]


def test_ways_to_tell_the_same(tmp_path: Path) -> None:
    (tmp_path / "k6.json").write_text(json.dumps({"metrics": {
        "http_reqs": {"count": 100}, "http_req_duration": {"p(99)": 12.5},
        "http_req_failed": {"passes": 5, "fails": 95},
    }}))
    texts = {
        "sender": json.dumps({"reached": {"started": 100, "errors": 5}, "latency_ms": {"p99": 12.5}}),
        "autocannon": json.dumps({"requests": {"total": 100}, "errors": 2, "non2xx": 3, "latency": {"p99": 12.5}}),
        "hey": "  99%% in 0.0125 secs\nStatus code distribution:\n  [200]\t95 responses\n  [500]\t3 responses\n\n"
               "Error distribution:\n  [2]\tPost: EOF\n",
        "wrk": "     99%   12.50ms\n  100 requests in 1.00s, 9MB read\n  Non-2xx or 3xx responses: 5\n",
        "h2load": "requests: 100 total, 100 started, 100 done, 97 succeeded, 3 failed, 0 errored, 0 timeout\n"
                  "status codes: 95 2xx, 0 3xx, 2 4xx, 3 5xx\n",
        "oha": json.dumps({"statusCodeDistribution": {"200": 95, "500": 3}, "latencyPercentiles": {"p99": 0.0125},
                           "errorDistribution": {"reset": 2, "aborted due to deadline": 64}}),
        "vegeta": json.dumps({"requests": 100, "status_codes": {"200": 95, "0": 5}, "latencies": {"99th": 12_500_000}}),
        "k6": "",
    }
    for name, text in texts.items():
        p99 = None if name == "h2load" else 12.5
        assert reports.read(name, text, tmp_path) == reports.Told(100, 5, p99), name
    with pytest.raises(ValueError, match="wrk"):
        reports.read("wrk", "nothing", tmp_path)


def test_a_tool_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOOLS", "BIN"):
        monkeypatch.setattr(tools, name, tmp_path)
    monkeypatch.setenv("PATH", "")
    assert tools.install(tools.Tool("nobody", "go", ("example.com/nobody@v1",))) == "there is no go here"
    assert Tools(tmp_path, "http://127.0.0.1:1").command("wrk", 1, 1, None) is None
    assert "| hey | go: github.com/rakyll/hey@v0.1.5 | no: " in generators.origins()


def test_tools_are_installed_where_git_looks_away() -> None:
    done = subprocess.run(["git", "check-ignore", str(tools.BIN)], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0 or not (ROOT / ".git").exists()
