"""The figures of a report are those of the log, whatever stands in it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.cli.main import main
from sender.errors import UsageError
from sender.jobs.status import STATUSES
from sender.report.make import make_sections
from sender.report.outcome_figures import OutcomeFigures
from sender.report.page import page
from sender.report.reading import read_outcomes
from sender.report.run_section import run_section
from sender.report.text_page import text
from sender.report.timeline import MOST_STEPS, Timeline
from tests.report.logs import EVIL, START, a_run, error, line, stamp, write
from tests.support.bench_results import result

if TYPE_CHECKING:
    from pathlib import Path



def test_what_became_of_the_jobs(tmp_path: Path) -> None:
    figures = read_outcomes(a_run(tmp_path / "log"))
    assert figures.by_status() == {
        "sent": 991, "invalid": 1, "rejected": 6, "failed": 1, "in_doubt": 1, "duplicate": 1, "skipped": 0,
    }
    assert figures.by_code() == [
        ("api_error", "rejected", 6), ("bad_recipient", "invalid", 1), ("rate_limited", "failed", 1),
        ("timeout", "in_doubt", 1),
    ]
    assert (figures.retries, figures.http_429, figures.unreadable) == (4, 1, 0)
    assert figures.examples["api_error"].job == "job-2000"
    assert "ada" not in figures.examples["api_error"].message
    assert figures.timeline.busiest == 106
    assert figures.slowest[0].job == "job-4000"
    assert [round(value or 0) for value in figures.latency_ms.percentiles((50, 99, 100))] == [50, 99, 2500]


def test_requests_stand_where_they_were_written() -> None:
    figures = OutcomeFigures()
    figures.add(line(1, at=0.0, latency=1500.0, attempts=2, started_at=stamp(-7)))  # its last attempt was written at 0
    figures.add(line(2, at=3.0, latency=None))
    figures.close()
    _, steps = figures.timeline.steps(100)
    assert [(at, step.requests) for at, step in steps] == [(0.0, 1), (3.0, 1)]
    assert figures.timeline.start == START


def test_the_timeline_stays_short_and_complete() -> None:
    timeline = Timeline()
    for second in range(10_000):
        timeline.request(float(second)).latency_ms.add(5)
    assert timeline.width == 16
    width, steps = timeline.steps(MOST_STEPS)
    assert sum(step.requests for _, step in steps) == 10_000
    assert steps[5][1].requests == width
    assert len(timeline.steps(40)[1]) <= 40


@pytest.mark.slow
def test_a_million_lines_need_little_memory(tmp_path: Path) -> None:
    """Scaled down: what is held must not grow with the lines."""

    def peak(count: int) -> int:
        figures = OutcomeFigures()
        tracemalloc.start()
        for number in range(count):
            figures.add(line(number, at=number / 100, latency=float(number % 1000)))
        figures.close()
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(100)
    assert peak(60_000) < peak(12_000) + 3_000_000


@pytest.mark.parametrize("broken", [
    None, 1, [], {}, {"status": "lost"}, {"status": ["sent"]},
])
def test_what_is_no_outcome_is_counted(broken: Any) -> None:
    figures = OutcomeFigures()
    assert not figures.add(broken)
    assert figures.unreadable == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5,
)


KEYS = ["id", "kind", "error", "attempts", "latency_ms", "finished_at", "started_at", "written_at", "http_status",
        "source", "line"]


@given(values=st.dictionaries(st.sampled_from(KEYS), JSON | st.just(EVIL)), status=st.sampled_from(STATUSES))
def test_no_value_of_a_line_breaks_it(values: dict[str, Any], status: str) -> None:
    figures = OutcomeFigures()
    figures.add({"status": status} | values)
    figures.add(line(1) | values)
    figures.close()
    section = run_section("log", figures, 1, 100.0)
    assert "\x1b" not in text([section])
    assert figures.jobs in (1, 2)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.seen.add(tag)
        for name, value in attributes:
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.links.append(value)


def test_a_log_writes_nothing_into_the_page(tmp_path: Path) -> None:
    lines = [line(n, "failed", id=EVIL, source=EVIL, kind=EVIL, **error(EVIL, EVIL)) for n in range(3)]
    lines += [line(9, "failed", id=EVIL + "2", **error("code", EVIL))]
    bench = result(machine={EVIL: EVIL}, statuses={EVIL: 3}, error_codes={EVIL: 2}, started_at=EVIL)
    bench["asked"] |= {"target": EVIL, "kinds": {EVIL: 1}}
    (tmp_path / "bench").write_text(json.dumps(bench))
    made = page(make_sections([write(tmp_path / "log", lines), tmp_path / "bench"], 100.0), EVIL)
    tags = Tags()
    tags.feed(made)
    assert not tags.seen & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert all(link.startswith(("#", "data:,")) for link in tags.links)
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert "&lt;/script&gt;" in made
    assert made.count("http://") == made.count("http://evil") + made.count("http://127")


def test_the_page_holds_the_figures(tmp_path: Path) -> None:
    made = page(make_sections([a_run(tmp_path / "log")], 100.0), "a run")
    for part in ("<b>991</b> sent", "job-4000", "2,500 ms", "limit 100/s", 'name="viewport"', "api_error"):
        assert part in made
    ids = [part.split('"')[0] for part in made.split(' id="')[1:]]
    assert len(ids) == len(set(ids)) > 10, "ids of several charts must not meet"


def test_a_benchmark_has_its_section(tmp_path: Path) -> None:
    (tmp_path / "b").write_text(json.dumps(result(), indent=2))
    shown = text(make_sections([tmp_path / "b"], None))
    assert "99.0/s" in shown
    assert "rate_limited" in shown
    assert "10 of 1,000 planned requests were never started" in shown


def test_gzip_torn_lines_and_long_ones(tmp_path: Path) -> None:
    whole = a_run(tmp_path / "log").read_bytes()
    long = b'{"status":"sent","id":"' + b"x" * 3_000_000 + b'"}\n'
    (tmp_path / "log.gz").write_bytes(gzip.compress(whole + long + whole[:50]))
    figures = read_outcomes(tmp_path / "log.gz")
    assert (figures.lines, figures.unreadable) == (1002, 2)


@pytest.mark.parametrize("content", [b"", b"hello\n" * 50, b"\x1f\x8bbroken", b"{}\n", b"\xff\xfe" * 100])
def test_other_files_are_refused_or_empty(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_bytes(content)
    status = main(["report", str(tmp_path / "x"), "--text"])
    assert status == (2 if content else 0)
    assert ("x" in capsys.readouterr().err) is bool(content)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log = a_run(tmp_path / "log")
    assert main(["report", str(log), "--out", str(tmp_path / "page.html"), "--limit", "50"]) == 0
    assert "limit 50/s" in (tmp_path / "page.html").read_text()
    monkeypatch.setenv("SENDER_REPORT_LIMIT", "70")
    assert main(["report", str(log), "--out", "-"]) == 0
    assert "limit 70/s" in capsys.readouterr().out
    assert main(["report", str(log), "--text"]) == 0
    assert "991  sent" in capsys.readouterr().out
    for arguments in ((str(tmp_path),), (str(tmp_path / "none"),), (str(log), "--limit", "fast"),
                      (str(log), "--out", str(log)), (str(log), "--out", ""), ()):
        assert main(["report", *arguments]) == 2
    assert main(["report", str(log), "--out", str(tmp_path / "no" / "page")]) == 3


def test_the_same_log_again_is_refused_as_output(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither"):
        read_outcomes(write(tmp_path / "x", [{"a": 1}]))
