"""The benchmarks run, and count what they say they count; nothing here depends on how quick the machine is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import hostile
import outbox
import pacing
import proof
import pytest
import results
import shared_limit
import throughput
import validation
from common import write_emails
from counts import counted, most_in_second, slope
from processes import HERE
from rivals import FULL, PACED

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000


@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("*.py")))
def test_every_script_finds_what_it_needs(name: str) -> None:
    importlib.import_module(name)


def test_even_arrivals_reach_the_limit_and_break_nothing() -> None:
    counts = counted([number * 10 * MS for number in range(1000)], 100)
    assert counts.reached == pytest.approx(1.0)
    assert (counts.most, counts.refused, counts.gaps_ms) == (100, 0, (10.0, 10.0, 10.0))


def test_what_the_outbox_s_campaign_tells_becomes_rows() -> None:
    told = ["       replicas killed  3", "accepted, and never committed  0", "  share of the limit  99.25%", "good"]
    rows = [("replicas killed", "3"), ("accepted, and never committed", "0"), ("share of the limit", "99.25%")]
    assert outbox.read(told) == (rows, "All of it held.")
    assert outbox.read(told[:-1])[1] == "**It did not hold.**"


def test_a_burst_is_seen_by_the_window_and_not_by_the_rate() -> None:
    counts = counted([0] * 100 + [number * 10 * MS for number in range(1000)], 100)
    assert counts.reached == pytest.approx(1.0)
    assert counts.most == 200
    assert counts.refused > 50


def test_what_is_refused_does_not_count_towards_the_limit() -> None:
    assert counted([number * MS for number in range(3000)], 100).refused == 3000 - 300


def test_slope_is_a_rate_per_second() -> None:
    assert most_in_second([0.0, 0.5, 1.0]) == 2
    assert slope([0, 500 * MS, 1000 * MS]) == pytest.approx(2.0)


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "RESULTS.md"
    for name, text in (("pacing", "old"), ("throughput", "other"), ("pacing", "new \\1")):
        results.write(name, f"Title of {name}", text, results.table(("who", "much"), [("we", 1)]), to=page)
    text = page.read_text()
    assert "old" not in text
    assert text.index("## Title of throughput") < text.index("## Title of pacing") < text.index("new \\1")
    assert text.count("| we | 1 |") == 2
    assert "Title of pacing" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["sender, uvloop", "sender, asyncio, without ledger", "aiohttp, bare loop, uvloop"])
def test_full_speed(name: str, tmp_path: Path) -> None:
    write_emails(tmp_path / "jobs.jsonl", 20_000)
    speed = throughput.measure(dict(throughput.contenders())[name], tmp_path, 0.3, warm=0.1)
    assert speed is not None
    assert speed.rate > 0
    assert speed.cpu > 0


def test_ratios_are_taken_within_rounds() -> None:
    mine = [throughput.Speed(rate, 100.0) for rate in (1.0, 20.0, 4.0)]
    theirs = [throughput.Speed(rate, 50.0) for rate in (2.0, 10.0, 4.0)]
    found = {"sender, uvloop": mine, "aiohttp, bare loop, uvloop": theirs}
    assert "| sender, uvloop | 4 | 20 | 1.00 | – | 100 |" in throughput.table(found)
    assert "| sender, uvloop / aiohttp, bare loop, uvloop | 0.5 | 1.00 | 0.50 |" in throughput.ratios(found)


def test_a_rival_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(FULL, "nobody", "nobody:full")
    assert throughput.measure(dict(throughput.contenders())["nobody"], tmp_path, 0.1) is None
    assert "| nobody | not installed |" in throughput.table({"nobody": [None]})
    monkeypatch.setitem(PACED, "nobody", "nobody:paced")
    found = {"nobody": pacing.run("nobody", pacing.Plan(100, 1.0, "asyncio"))}
    assert "| nobody | not installed |" in pacing.table(found, 100)


def test_pacing_counts_at_the_server() -> None:
    plan = pacing.Plan(100, 5.0, "uvloop")
    with_burst = pacing.run("aiolimiter (N, 1)", pacing.Plan(100, 1.2, "uvloop"))
    assert with_burst is not None
    assert with_burst.counts.most > 100
    own = pacing.run("sender", plan)
    assert own is not None
    assert own.counts.most <= 100
    assert own.counts.refused == 0
    assert own.cpu_ms is not None


def test_a_proof_is_a_row_of_the_table() -> None:
    (found,) = proof.prove(100, 1, "--scenario", "plain")
    assert found["most_arrived"] <= 100
    assert "| nothing special |" in proof.table([found])


def test_checks_are_tried_on_wrong_emails(capsys: pytest.CaptureFixture[str]) -> None:
    found = validation.contenders()
    wrong = validation.wrong_bodies()
    for name in (validation.OWN, "sender, line to job", "pydantic v2, validate_json"):
        assert not [body for body in wrong if validation.accepts(found[name], body)], name
    times = validation.measure(found, validation.orjson.dumps(validation.GOOD), rounds=1, calls=2)
    assert validation.OWN in validation.table(times, {})
    capsys.readouterr()


@pytest.mark.parametrize("name", hostile.LINES)
def test_a_hostile_line_of_1_mb_is_checked(name: str) -> None:
    """1 MB of `{{` in `to` took an hour, 20 kB of line ends in base64 took seconds."""
    hostile.parse(hostile.LINES[name](2**20))


def test_hostile_lines_stand_in_a_table() -> None:
    make, step = hostile.STEPS["masking an error"]
    assert "| masking an error |" in hostile.table({"masking an error": [hostile.took(step, make(100), 1)] * 3})


def test_shared_limit_asks_redis_what_it_did() -> None:
    shared = shared_limit.measure("sender", 2, 1.0, warm=1.0)
    assert shared is not None
    assert shared.counts.most <= shared_limit.LIMIT
    assert 0 < shared.round_trips < shared.commands
