"""The page in a real browser: quiet, alone, and as wide as the screen.

`python -m tests.report.test_in_browser FOLDER` writes the README's pictures.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.cli import main
from tests.bench.test_results import result
from tests.browser import browser, chromium, missing, opened
from tests.report.logs import a_run, error, line, write

if TYPE_CHECKING:
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


def write_pictures(folder: Path) -> None:
    """The README's pictures: a run with a rough stretch, wide and on a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    lines = [_some(chance, number) for number in range(18_000)]
    log = write(folder / "receipts.jsonl.outcomes.jsonl", lines)
    target = folder / "report.html"
    try:
        assert main(["report", str(log), "--out", str(target)]) == 0
        with browser() as running:
            for name, width, height, dark in (("report", 1000, 1180, False), ("report-phone", 390, 1180, True)):
                with opened(running, target.as_uri(), width=width, dark=dark) as watched:
                    watched.page.screenshot(path=folder / f"{name}.png",
                                            clip={"x": 0, "y": 0, "width": width, "height": height})  # fmt: skip
    finally:
        log.unlink()
        target.unlink(missing_ok=True)


def _some(chance: random.Random, number: int) -> dict[str, Any]:
    at, rough = number / 99.85, 7000 < number < 8200
    latency = round(chance.lognormvariate(3.7, 0.4) * (5 if rough else 1), 1)
    luck = chance.random()
    if luck < 0.003:
        return line(
            number, "rejected", at=at, latency=latency, http_status=400, **error("api_error", "400: no such template")
        )
    if luck < 0.004:
        return line(number, "in_doubt", at=at, latency=None, http_status=None, **error("timeout", "no complete answer"))
    attempts = 2 if rough and luck < 0.2 else 1
    return line(number, at=at, latency=latency, attempts=attempts)


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1]))
