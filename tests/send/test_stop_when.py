"""`--stop-when`: rules over the latest ends, with a floor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.outcomes.outcome import Outcome
from sender.send.stop_rules import COUNTED, StopRules
from tests.support.processes import email, running_sandbox, write_jobs
from tests.support.processes import sender as run_sender

if TYPE_CHECKING:
    from pathlib import Path

    from sender.jobs.status import Status


def ended(line: int, status: Status, source: str = "jobs.jsonl") -> Outcome:
    return Outcome(str(line), "email", status, source, line)


def broken_after(rule: str, *statuses: Status) -> int | None:
    """After how many ends the rule was broken."""
    rules = StopRules((rule,))
    for number, status in enumerate(statuses, 1):
        rules.see(ended(number, status))
        if rules.broken is not None:
            return number
    return None


def test_a_number() -> None:
    assert broken_after("in_doubt>2", "in_doubt", "sent", "in_doubt", "in_doubt") == 4
    assert broken_after("in_doubt>2", "in_doubt", "rejected", "rejected", "rejected", "in_doubt") is None
    assert broken_after("failed>0", "sent", "failed") == 2


def test_a_share_has_a_floor() -> None:
    assert broken_after("rejected>5%", *["rejected"] * 30) == 20
    assert broken_after("rejected>50%", *["sent", "rejected"] * 500) is None
    assert broken_after("rejected>0%/5", *["rejected"] * 30) == 5


def test_only_the_last_ones_count() -> None:
    fine: list[Status] = ["sent"] * 5000
    assert broken_after("invalid>5%", *fine, *["invalid"] * 60) == 5051
    assert broken_after("invalid>5%/100", *fine, *["invalid"] * 60) == 5006
    assert broken_after("invalid>3/10", *(["invalid", *fine[:4]] * 50)) is None


def test_what_was_never_to_be_sent_does_not_count() -> None:
    rest: list[Status] = ["duplicate", "skipped"]
    assert broken_after("rejected>10%", *(rest * 100), *["rejected"] * 19) is None


def test_invalid_lines_count_by_their_place_and_not_by_when_they_end() -> None:
    rules = StopRules(("invalid>5%", "rejected>5%"))
    for line in range(100, 100_000, 100):  # the reader is far ahead of what is sent
        rules.see(ended(line, "invalid"))
        assert rules.broken is None
    for line in range(1, 20):
        rules.see(ended(line, "rejected"))
    assert rules.broken is None, "a share of what was tried has its floor, whatever else was read"
    rules.see(ended(20, "rejected"))
    assert rules.broken is not None
    assert "20 of the last 20 jobs are rejected" in str(rules.broken)


def test_lanes_come_to_their_lines_in_any_order_and_each_input_counts_alone() -> None:
    rules = StopRules(("invalid>5%/100",))
    for line in (500, 10, 490, 505, 480, 470):
        rules.see(ended(line, "invalid"))
        rules.see(ended(line, "invalid", source="other.jsonl"))
    assert rules.broken is None
    rules.see(ended(506, "invalid"))
    assert "6 of the last 100 jobs are invalid" in str(rules.broken)


@given(st.lists(st.sampled_from(COUNTED)), st.integers(0, 5), st.integers(1, 12), st.booleans())
def test_it_is_what_one_would_count(ends: list[Status], most: int, last: int, share: bool) -> None:
    rules = StopRules((f"rejected>{most * 10 if share else most}{'%' if share else ''}/{last}",))
    expected = False
    for number, status in enumerate(ends, 1):
        rules.see(ended(number, status))
        seen = ends[max(0, number - last) : number]
        rejected = seen.count("rejected")
        expected = expected or (
            (len(seen) >= last and rejected * 100 > most * 10 * len(seen)) if share else rejected > most
        )
        assert (rules.broken is not None) is expected


@pytest.mark.parametrize("text", ["", "rejected", "rejected>", "sent>5", "rejected>101%", "rejected>1.5", "x>2%",
                                  "rejected>2%/0", "rejected<2%", "rejected>-1"])
def test_another_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--stop-when takes rules like"):
        StopRules((text,))


def test_a_run_ends_and_names_the_rule(tmp_path: Path) -> None:
    jobs = [email(number) for number in range(1000)]
    for job in jobs[40:]:
        job["payload"]["transactional_message_id"] = 9999
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    with running_sandbox() as sandbox:
        done = run_sender(
            "send", "jobs.jsonl", "--base-url", sandbox.url, "--json", "--no-preflight", "--no-reconcile",
            "--stop-when", "in_doubt>10", "--stop-when", "rejected>20%", cwd=tmp_path,
        )
        arrived = sandbox.lanes["send"]["arrived"]
    summary = json.loads(done.stdout)
    assert done.returncode == 3
    assert b"--stop-when rejected>20%" in done.stderr
    assert 10 < summary["rejected"] < 100
    assert arrived == summary["sent"] + summary["rejected"], "what was in hand has ended"
    assert summary["read"] == summary["sent"] + summary["rejected"] + summary["not_started"] == 1000


def test_a_few_invalid_lines_stop_nothing_while_the_others_wait(tmp_path: Path) -> None:
    jobs = [email(number) for number in range(600)]
    for job in jobs[99::100]:
        job["payload"] = {"to": "nobody"}
    write_jobs(tmp_path / "jobs.jsonl", jobs)
    with running_sandbox("--rate-send", "100000") as sandbox:
        done = run_sender(
            "send", "jobs.jsonl", "--base-url", sandbox.url, "--json", "--rate", "300", "--no-reconcile",
            "--stop-when", "invalid>5%", cwd=tmp_path,
        )
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["sent"], summary["invalid"]) == (1, 594, 6), done.stderr


def test_a_rule_that_is_none_sends_nothing(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    done = run_sender("send", "jobs.jsonl", "--base-url", "http://127.0.0.1:1", "--stop-when", "all", cwd=tmp_path)
    assert done.returncode == 2
    assert b"--stop-when takes rules" in done.stderr


@pytest.mark.parametrize(("rule", "told"), [
    (("--stop-when", "all"), b"--stop-when takes rules"), (("--window", "9-99"), b"--window"),
    (("--max-rejected", "x"), b"--max-rejected"), (("--ramp", "fast"), b"--ramp"),
])
def test_a_dry_run_refuses_the_rules_that_a_run_refuses(rule: tuple[str, str], told: bytes, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    done = run_sender("send", "jobs.jsonl", "--dry-run", *rule, cwd=tmp_path)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
