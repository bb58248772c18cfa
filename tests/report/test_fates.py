"""What became of the deliveries stands in the report as `sender follow` counts it."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.cli.main import main
from sender.errors import UsageError
from sender.follow.books import FateBooks
from sender.follow.delivery import Delivery, read_line
from sender.follow.fate import FATES, MARKS
from sender.report.fate_figures import FateFigures
from sender.report.fate_table import FateTable
from sender.report.flow import draw_flow
from sender.report.make import make_report, make_sections
from sender.report.page import page
from sender.report.text_page import text
from tests.report.logs import EVIL, START, error, line, stamp, write
from tests.support.browser import browser, chromium, missing, opened
from tests.support.live_pages import picture

if TYPE_CHECKING:
    from pathlib import Path

    from sender.report.section import Section

DOMAINS = ("gmail.com", "example.com", "example.org")


def told(number: int, fate: str = "delivered", *, after: float = 3.0, **more: Any) -> dict[str, Any]:
    """A line of the deliveries file."""
    at = number / 100 + after
    metric = {"open": None, "dropped": "suppressed"}.get(fate, fate)
    metrics = {} if metric is None else {metric: int(START + at)}
    found = {
        "delivery_id": f"d-{number}", "id": f"job-{number}", "kind": "email", "fate": fate, "metric": metric,
        "at": None if metric is None else stamp(at), "accepted_at": stamp(number / 100), "bounce": None, "code": None,
        "reason": None, "domain": DOMAINS[number % 3], "metrics": metrics, "seen_at": stamp(1000), "by": "list",
    }
    return found | more


def bounced(number: int, bounce: str = "hard") -> dict[str, Any]:
    code = "5.1.1" if bounce == "hard" else "4.2.2"
    return told(number, "bounced", bounce=bounce, code=code, reason=f"{code[0]}50 {code} <***>: no such user")


def a_followed_run(folder: Path, name: str = "receipts.jsonl") -> Path:
    """1,000 sent: 945 arrived, 30 bounced, 10 were dropped, 5 failed, 7 are open, 3 not followed; and 4 refused."""
    lines = [line(n, at=n / 100, latency=20.0, delivery_id=f"d-{n}") for n in range(997)]
    lines += [line(2000 + n, kind="broadcast", at=5, latency=20.0, trigger_id=n) for n in range(3)]
    lines += [line(3000 + n, "rejected", at=6, http_status=400, **error("api_error", "no")) for n in range(4)]
    news = [told(n, "open") for n in range(40)] + [told(n, after=1 + n % 50) for n in range(945)]
    news += [bounced(n, "hard" if n % 3 else "soft") for n in range(945, 975)]
    news += [told(n, "dropped") for n in range(975, 985)] + [told(n, "failed") for n in range(985, 990)]
    news += [told(7, metrics={"delivered": 1, "opened": 2, "clicked": 3}), told(99999, "bounced")]
    write(folder / f"{name}.deliveries.jsonl", news)
    manifest = {
        "schema": "sender.run/1", "run": 3, "began": stamp(0), "ended": stamp(20), "exit": 1,
        "ledger": {"path": "x", "shared": False}, "duplicates_risk": "Nothing was sent twice.", "by": "ada@host",
    }
    (folder / f"{name}.run.json").write_text(json.dumps(manifest))
    return write(folder / f"{name}.outcomes.jsonl", lines)


def facts(section: Section) -> dict[str, str]:
    return {fact.name: fact.value for fact in section.facts}


def rows(section: Section, caption: str) -> list[tuple[str, ...]]:
    return [row for table in section.tables if table.caption == caption for row in table.rows]


def test_the_fates_of_a_run(tmp_path: Path) -> None:
    (section,) = make_sections([a_followed_run(tmp_path)], 100.0)
    found = facts(section)
    assert found["delivered, 94.78 %"] == "945"
    assert found["bounced, 3.01 % (20 hard, 10 soft)"] == "30"
    assert (found["dropped, 1 %"], found["failed, 0.5 %"], found["not known yet"]) == ("10", "5", "7")
    assert (found["opened"], found["clicked"], found["restarts"]) == ("1", "1", "2")
    assert (found["arrived within, p50"], found["arrived within, p99"]) == ("25 s", "50 s")
    flow = section.flow
    assert flow is not None
    assert {bar.name: bar.count for bar in flow.here} == {"sent": 1000, "rejected": 4}
    assert {bar.name: bar.count for bar in flow.there} == {
        "delivered": 945, "bounced": 30, "dropped": 10, "failed": 5, "open": 7, "not followed": 3,
    }
    assert section.bars == ()
    domains = {row[0]: row[1:] for row in rows(section, "Deliveries by domain")}
    assert set(domains) == set(DOMAINS)
    assert sum(int(row[0]) for row in domains.values()) == 990, "one that nobody asked for has no domain yet"
    assert sum(int(row[2]) for row in domains.values()) == 20
    reasons = rows(section, "Why deliveries came back or were held back")
    assert ("*** <***>: no such user", "20", "hard bounced", "5.1.1") in reasons
    assert dict(rows(section, "The run"))["sent twice?"] == "Nothing was sent twice."
    assert "ada@host" not in text([section])


def test_a_log_that_nobody_followed_is_as_it_was(tmp_path: Path) -> None:
    (section,) = make_sections([write(tmp_path / "a.outcomes.jsonl", [line(1, delivery_id="d-1")])], None)
    assert section.flow is None
    assert len(section.bars) == 1
    assert not any(name.startswith(("delivered", "restarts")) for name in facts(section))


def test_a_deliveries_file_by_itself_is_told_apart(tmp_path: Path) -> None:
    a_followed_run(tmp_path)
    with pytest.raises(UsageError, match="name its outcome log"):
        make_sections([tmp_path / "receipts.jsonl.deliveries.jsonl"], None)


@given(st.lists(st.tuples(
    st.integers(0, 9), st.sampled_from([*MARKS, "delivered", "sent", "bounced", "suppressed", "failed", "attempted"]),
    st.integers(0, 5),
), max_size=60))
def test_the_books_are_those_of_follow(news: list[tuple[int, str, int]]) -> None:
    """Whatever came in whatever order: the lines that follow writes say in the report what follow's own books say."""
    books, table = FateBooks(), FateTable()
    deliveries = {n: Delivery(f"d-{n}", None, "email", 1e9) for n in range(10)}
    for delivery in deliveries.values():
        table.accept(delivery.id)
        books.enter(None, delivery)
    for number, metric, at in news:
        before = deliveries[number]
        found = read_line({"delivery_id": before.id, "metrics": {metric: at}})
        assert found is not None
        after = deliveries[number] = before.told(found)
        books.enter(before, after)
        table.tell(json.loads(after.to_line(1e9, "list")))
    figures = FateFigures.of(table)
    table.close()
    assert figures.fates == {fate: books.fates[fate] for fate in FATES}
    assert {name: count for name, count in figures.marks.items() if count} == {
        name: count for name, count in books.marks.items() if count
    }
    assert figures.followed == books.sent


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one), max_leaves=3))
def test_no_line_breaks_the_report(value: Any) -> None:
    table = FateTable()
    table.accept("d-1")
    for name in ("fate", "at", "accepted_at", "bounce", "code", "reason", "domain", "metrics", "metric", "delivery_id"):
        table.tell(told(1) | {name: value})
    assert FateFigures.of(table).followed == 1
    table.close()


def test_what_stands_in_a_file_stays_text(tmp_path: Path) -> None:
    log = write(tmp_path / "a.outcomes.jsonl", [line(1, delivery_id="d-1")])
    write(tmp_path / "a.deliveries.jsonl", [told(1, "bounced", reason=EVIL, domain=EVIL, code=EVIL[:20])])
    (tmp_path / "a.run.json").write_text(json.dumps({"schema": "sender.run/1", "exit": EVIL, "run": EVIL}))
    made = page(make_sections([log], None), "x")
    assert "<script" not in made
    assert "<img" not in made


def test_several_runs_side_by_side_and_as_csv(tmp_path: Path) -> None:
    plain = write(tmp_path / "other.outcomes.jsonl", [line(1), line(2, "failed", **error("rate_limited", "slower"))])
    first, *rest = make_report([a_followed_run(tmp_path), plain], 100.0).shown
    assert (first.title, len(rest)) == ("Side by side", 2)
    table, fates = first.tables
    assert [dict(zip(table.head, row, strict=True))["jobs"] for row in table.rows] == ["1,004", "2"]
    assert [dict(zip(fates.head, row, strict=True))["delivered"] for row in fates.rows] == ["94.78 %", "–"]
    assert [row[0] for row in fates.rows] == ["receipts.jsonl", "other"]
    out, figures = tmp_path / "r.html", tmp_path / "r.csv"
    files = [str(tmp_path / "receipts.jsonl.outcomes.jsonl"), str(plain)]
    assert main(["report", *files, "--out", str(out), "--csv", str(figures)]) == 0
    with figures.open(newline="") as file:
        found = {tuple(row[:4]): float(row[4]) for row in list(csv.reader(file))[1:]}
    run = "receipts.jsonl.outcomes.jsonl"
    assert found[run, "jobs", "", "sent"] == 1000
    assert found[run, "deliveries", "", "bounced"] == 30
    assert found[run, "bounces", "", "hard"] == 20
    assert found[run, "run", "", "restarts"] == 2
    assert found[run, "code", "api_error", "rejected"] == 4
    assert sum(found[run, "domain", domain, "hard"] for domain in DOMAINS) == 20
    assert found["other.outcomes.jsonl", "jobs", "", "failed"] == 1
    assert ("other.outcomes.jsonl", "deliveries", "", "all") not in found
    assert "Side by side" in out.read_text()


def test_the_flow_is_as_high_as_its_parts(tmp_path: Path) -> None:
    (section,) = make_sections([a_followed_run(tmp_path)], None)
    assert section.flow is not None
    for drawn in draw_flow(section.flow):
        heights = [float(one) for one in re.findall(r'<rect[^>]* height="([0-9.]+)"', drawn)]
        assert heights[0] == 150.0
        assert heights[1] == pytest.approx(149.4, abs=0.1), "1,000 of 1,004"
        assert heights[3] == pytest.approx(150 * 945 / 1004, abs=0.1)
        assert min(heights) == 2.0, "what is little is seen, too"
        assert drawn.count("<text") == 9


def test_the_report_in_a_browser(tmp_path: Path) -> None:
    if chromium() is None:
        missing("the report of fates: its width on a phone, dark, in print, by keyboard")
        return
    log, out = a_followed_run(tmp_path), tmp_path / "report.html"
    other = a_followed_run(tmp_path, "reminders.jsonl")
    assert main(["report", str(log), str(other), "--out", str(out), "--title", "November"]) == 0
    with browser() as running:
        for name, width, dark in (("report", 1200, False), ("report-phone", 400, True)):
            with opened(running, out.as_uri(), width=width, dark=dark) as watched:
                page = watched.page
                assert page.evaluate("document.documentElement.scrollWidth") == width
                picture(page, name, height=1500)
                flow = page.get_by_role("img", name=re.compile("1,004 jobs were read: 1,000 sent, 4 rejected"))
                assert flow.count() == 2
                letters = flow.first.locator("svg:visible text").first.bounding_box()
                assert letters["height"] >= 11, "letters stay readable"
                for summary in page.locator("summary").all():
                    summary.focus()
                    page.keyboard.press("Enter")
                assert page.locator("details[open]").count() == page.locator("details").count()
                assert page.evaluate("document.documentElement.scrollWidth") == width
                page.emulate_media(media="print")
                assert flow.first.locator(".wide svg").is_visible()
                assert watched.complaints == []
                assert watched.requests == [out.as_uri()]
