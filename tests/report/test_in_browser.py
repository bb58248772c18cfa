"""The page in a real browser: quiet, alone, and as wide as the screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sender.cli.main import main
from tests.report.logs import a_run
from tests.support.bench_results import result
from tests.support.browser import browser, chromium, missing, opened

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def make_page(folder: Path) -> str:
    (folder / "bench.json").write_text(json.dumps(result()))
    arguments = [str(a_run(folder / "receipts.jsonl.outcomes.jsonl")), str(folder / "bench.json")]
    assert main(["report", *arguments, "--out", str(folder / "report.html")]) == 0
    return (folder / "report.html").as_uri()


def rows(page: Any, caption: str) -> list[list[str]]:
    table = page.locator("table", has=page.locator("caption", has_text=caption)).first
    return [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]


def facts(page: Any) -> dict[str, str]:
    section = page.locator("section").first
    names = section.locator(".fact dt").all_inner_texts()
    return dict(zip(names, section.locator(".fact dd").all_inner_texts(), strict=True))


def test_the_list_of_unsent_jobs_in_a_browser(tmp_path: Path) -> None:
    if chromium() is None:
        missing("the filter of the report page, its width, and its print")
        return
    url = make_page(tmp_path)
    with browser() as running, opened(running, url, width=390) as watched:
        page = watched.page
        shown = page.locator("section").first.locator(".filter ~ .scroll tbody tr:visible")
        assert shown.count() == 9
        page.get_by_text("failed: rate_limited 1").click()
        assert [row.locator("th").inner_text() for row in shown.all()] == ["job-4000"]
        page.get_by_label("rejected: api_error 6").check(force=True)
        assert shown.count() == 6
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.emulate_media(media="print")
        assert shown.count() == 6
        assert page.locator(".filter label:visible").all_inner_texts() == ["rejected: api_error 6"]
        assert page.locator("details:visible").count() == 0
        assert page.locator("figure .wide svg:visible").count() == 6
        page.emulate_media(media="screen")
        page.get_by_text("all 9").click()
        assert shown.count() == 9
        assert watched.complaints == []
        assert watched.requests == [url]


def test_the_page_in_a_browser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if chromium() is None:
        missing("the report page: console errors, requests, width on a phone, figures")
        return
    url = make_page(tmp_path)
    with browser() as running:
        with opened(running, url) as watched:
            assert watched.complaints == []
            assert watched.requests == [url]
            figures = facts(watched.page)
            assert figures["jobs"] == "1,001"
            assert figures["sent, 99 %"] == "991"
            assert figures["retries"] == "4"
            assert figures["busiest second"] == "106"
            assert rows(watched.page, "Errors by code")[0][:3] == ["api_error", "6", "rejected"]
            assert rows(watched.page, "Slowest jobs")[0][:3] == ["job-4000", "2,500 ms", "5"]
            assert watched.page.locator("figure[role=img][aria-label]").count() == 6
            assert watched.page.locator("figure svg:visible").count() == 6
        for dark in (False, True):
            with opened(running, url, width=390, dark=dark) as watched:
                assert watched.complaints == []
                assert watched.requests == [url]
                for summary in watched.page.locator("summary").all():
                    summary.click()
                assert watched.page.evaluate("document.documentElement.scrollWidth") == 390
                letters = watched.page.locator("figure .narrow text").first.bounding_box()
                assert letters["height"] >= 9, "letters stay readable"
                colours = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (colours == "rgb(15, 21, 28)") is dark
