"""Every job that was not sent is listed, and every doubt with what it became."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from sender.cli.main import main
from sender.report import outcome_figures
from sender.report.make import make_sections
from sender.report.page import MOST_GROUPS, page
from tests.report.logs import EVIL, a_run, error, line, stamp, write

if TYPE_CHECKING:
    from pathlib import Path

    from sender.report.section import Section, Table

LISTED = "Jobs that were not sent"


def table(section: Section, caption: str) -> Table:
    return next(one for one in section.tables if one.caption == caption)


def listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def unsent(tmp_path: Path, lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    log = write(tmp_path / "log", lines)
    assert main(["report", str(log), "--text", "--unsent", str(tmp_path / "unsent.csv")]) == 0
    return listed(tmp_path / "unsent.csv")


def test_every_job_that_was_not_sent_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (section,) = make_sections([a_run(tmp_path / "log")], None)
    jobs = ["job-2000", "job-2001", "job-2002", "job-2003", "job-2004", "job-2005", "job-3000", "job-4000", "job-5000"]
    assert [row[0] for row in table(section, LISTED).rows] == jobs, "and not one example of each code"
    assert main(["report", str(tmp_path / "log"), "--text", "--unsent", str(tmp_path / "x.csv")]) == 0
    rows = listed(tmp_path / "x.csv")
    assert [row["job"] for row in rows] == jobs
    assert rows[0] == {
        "job": "job-2000", "kind": "email", "status": "rejected", "code": "api_error", "message": "no address: ***",
        "http_status": "400", "attempts": "1", "at": stamp(5.04), "source": "jobs.jsonl", "line": "2000",
    }
    assert "job-2005" in capsys.readouterr().out


def test_what_was_sent_at_last_is_not_listed(tmp_path: Path) -> None:
    lines = [line(1, "failed", **error("timeout", "m")), line(1, "duplicate"), line(1), line(2),
             line(2, "rejected", **error("api_error", "m")), line(3, "failed", **error("timeout", "m")),
             line(3, "rejected", **error("api_error", "n"))]
    assert [(row["job"], row["status"], row["message"]) for row in unsent(tmp_path, lines)] == [
        ("job-2", "rejected", "m"), ("job-3", "rejected", "n")]


def test_the_page_names_what_it_leaves_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_figures, "MOST_UNSENT", 5)
    lines = [line(n, "rejected", **error("api_error", "m")) for n in range(12)]
    assert len(unsent(tmp_path, lines)) == 12
    (section,) = make_sections([tmp_path / "log"], None)
    found = table(section, LISTED)
    assert len(found.rows) == 5
    assert found.note.startswith("The first 5 of 12")
    assert "The first 5 of 12" in page([section], "t")


def test_doubts_and_what_they_became(tmp_path: Path) -> None:
    ends = {"sent": 3, "failed": 2, "rejected": 1}
    lines, number = [], 0
    for status, count in {**ends, "in_doubt": 4}.items():
        for _ in range(count):
            number += 1
            lines.append(line(number, "in_doubt", latency=None, **error("timeout", "no answer")))
            if status != "in_doubt":
                lines.append(line(number, status, latency=None, **({} if status == "sent" else error("absent", "m"))))
    lines.append(line(90, "in_doubt", latency=None, **error("unanswered", "killed")))
    lines += [line(n) for n in range(100, 110)]
    (section,) = make_sections([write(tmp_path / "log", lines)], None)
    assert table(section, "Doubts and what they became").rows == (
        ("timeout", "failed", "2"), ("timeout", "still in doubt", "4"), ("timeout", "rejected", "1"),
        ("timeout", "sent", "3"), ("unanswered", "still in doubt", "1"))


def test_the_filter_knows_every_group(tmp_path: Path) -> None:
    lines = [line(n, "rejected", **error(f"code_{n % 30}", "m")) for n in range(90)]
    (section,) = make_sections([write(tmp_path / "log", lines)], None)
    made = page([section], "t")
    assert made.count('type="radio"') == MOST_GROUPS + 1
    assert "rejected: code_1 <b>3</b>" in made
    assert f"others <b>{90 - 3 * (MOST_GROUPS - 1)}</b>" in made
    assert made.count(f'<tr class="g{MOST_GROUPS}">') == 90 - 3 * (MOST_GROUPS - 1)


@pytest.mark.parametrize(("job", "cell"), [
    ("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+cmd|x", "'+cmd|x"), ("@SUM(A1)", "'@SUM(A1)"), ("-2+3", "'-2+3"),
    ("-17", "-17"), ("+4915112345", "+4915112345"), ('a "b", c', 'a "b", c'), ("a\nb\r", "a\ufffdb\ufffd"),
])
def test_no_cell_is_a_formula(tmp_path: Path, job: str, cell: str) -> None:
    (row,) = unsent(tmp_path, [line(1, "failed", id=job, **error("timeout", "m"))])
    assert row["job"] == cell


def test_the_csv_of_a_hostile_log(tmp_path: Path) -> None:
    lines = [line(1, "failed", id=EVIL, kind=EVIL, source=EVIL, http_status=EVIL, attempts=EVIL, written_at=EVIL,
                  **error(EVIL, EVIL)), line(2, "invalid", id={"a": 1}, source=None, line=[1], error=None)]
    first, second = unsent(tmp_path, lines)
    text = (tmp_path / "unsent.csv").read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert first["code"] == "(unreadable code)"
    assert second["job"] == "line [1]"


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log = a_run(tmp_path / "$\\frac{1}$ 報告.jsonl")
    out = ("--out", str(tmp_path / "page.html"))
    assert main(["report", str(log), *out, "--png", str(tmp_path / "a.png")]) == 0
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(data[place : place + 4], "big") for place in (16, 20))
    assert width > 1000
    assert height > 800, "rate and latency, below each other"
    monkeypatch.setenv("SENDER_REPORT_PNG", str(tmp_path / "b.png"))
    assert main(["report", str(log), str(log), *out]) == 0
    assert int.from_bytes((tmp_path / "b.png").read_bytes()[20:24], "big") == 2 * height
    monkeypatch.delenv("SENDER_REPORT_PNG")
    (tmp_path / "empty").touch()
    assert main(["report", str(tmp_path / "empty"), *out, "--png", str(tmp_path / "c.png")]) == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_outputs_are_kept_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(a_run(tmp_path / "log"))
    before = (tmp_path / "log").read_bytes()
    same = str(tmp_path / "same")
    for arguments in (("--unsent", log), ("--png", log), ("--png", "-"), ("--text", "--unsent", "-"),
                      ("--out", "-", "--unsent", "-"), ("--out", same, "--unsent", same), ("--unsent", "")):
        assert main(["report", log, *arguments]) == 2, arguments
    for option in ("--unsent", "--png"):
        no_folder = str(tmp_path / "no" / "x")
        assert main(["report", log, "--out", str(tmp_path / "p.html"), option, no_folder]) == 3
        assert option in capsys.readouterr().err
    assert main(["report", log, "--out", str(tmp_path / "p.html"), "--unsent", "-"]) == 0
    assert capsys.readouterr().out.startswith("job,kind,status")
    assert (tmp_path / "log").read_bytes() == before


@pytest.mark.parametrize("status", ["SENT", "", " sent", "lost", None, 1, ["sent"], {"a": 1}, True])
def test_strange_statuses_are_told_and_passed_over(tmp_path: Path, status: Any) -> None:
    lines = [line(1), line(2, status), line(3, "rejected", **error("api_error", "m"))]
    (section,) = make_sections([write(tmp_path / "log", lines)], None)
    assert "1 lines are no outcomes that this version knows" in section.notes[0]
    assert {fact.name: fact.value for fact in section.facts}["jobs"] == "2"


def test_an_empty_log_and_a_torn_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "torn").write_bytes(json.dumps(line(1)).encode() + b'\n{"id":"job-2","status":"se')
    empty, torn = make_sections([tmp_path / "empty", tmp_path / "torn"], 100.0)
    assert not empty.charts
    assert not empty.tables
    assert "torn last line" in torn.notes[0]
    assert page([empty, torn], "t").count("<section>") == 2


def test_drafts_are_told_beside_what_was_sent(tmp_path: Path) -> None:
    """A message that the API holds for a person counted as sent, and nothing said so."""
    draft = {"code": "draft", "field": "payload.queue_draft", "message": "nobody gets it"}
    lines = [line(n, warnings=[draft]) for n in range(3)]
    lines += [line(3, status, warnings=[draft], written_at=stamp(0)) for status in ("in_doubt", "sent")]
    lines += [line(4, warnings=[{"code": EVIL, "message": EVIL}, 7]), line(5, warnings="x")]
    (section,) = make_sections([write(tmp_path / "log", lines)], None)
    assert [fact.value for fact in section.facts if fact.name == "drafts that wait for a person"] == ["4"]
    assert table(section, "Warnings by code").rows[0] == ("draft", "4", "job-0", "nobody gets it")
    assert table(section, "Warnings by code").rows[1][0] == "(unreadable code)"
