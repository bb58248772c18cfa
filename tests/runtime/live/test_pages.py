"""The page of what is followed and of a benchmark in a real browser, its figures beside their own and the sandbox's."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import browser, chromium, missing, opened
from tests.support.fleet import until
from tests.support.fork_server import popen
from tests.support.live_pages import LivePage, table, write_token
from tests.support.processes import SENDER, email, environment, running_sandbox, sender, write_jobs

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

FATES = ("--fate", "bounced=20%", "--fate", "opened=50%", "--fate", "lost=10%", "--deliver-after", "0")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--visibility-lag", "0", *FATES) as running:
        yield running


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    if chromium() is None:
        missing("the live page of follow and bench")
        yield None
        return
    with browser() as one:
        yield one


class Watched:
    """A command with a live page; its log goes into a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        log = folder / "log"
        command = [*SENDER, *arguments, "--json", "--live", "0", "--live-token-file", write_token(folder)]
        with log.open("wb") as err, (folder / "out").open("wb") as out:
            self.process: subprocess.Popen[bytes] = popen(
                command, cwd=folder, env=environment(), stdout=out, stderr=err
            )
        self._out = folder / "out"
        until(lambda: self._url(log) or self.process.poll() is not None, told=log.read_text)
        self.page = LivePage(self._url(log))

    @staticmethod
    def _url(log: Path) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
        return found[0] if found else ""

    def end(self) -> tuple[int, Any]:
        """Its exit status and what it printed."""
        status = self.process.wait(30)
        return status, json.loads(self._out.read_text())


def books_of(page: Any) -> dict[str, int]:
    return {name.replace(" ", "_"): int(count.replace(",", "")) for name, count in table(page, "books")}


def check_look(running: Any, url: str) -> None:
    """On a phone and in the dark, without a complaint, and with nothing to press: there is nothing to be done."""
    for width, dark in ((400, False), (1200, True)):
        with opened(running, url, width=width, dark=dark) as other:
            other.page.locator("#books td").first.wait_for()
            assert other.page.evaluate("document.documentElement.scrollWidth") == width
            assert not other.page.locator("#operate").is_visible()
            assert other.complaints == []


def test_the_page_of_what_is_followed_ends_in_the_sandboxes_books(
    sandbox: Sandbox, running: Any, tmp_path: Path
) -> None:
    if running is None:
        return
    sandbox.post("reset")
    write_jobs(tmp_path / "jobs.jsonl", map(email, range(200)))
    sent = sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", "2000", "--no-reconcile", cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    run = Watched(tmp_path, "follow", "jobs.jsonl", "--base-url", sandbox.url, "--for", "1h")
    own = sandbox.get("fates")
    with opened(running, run.page.url) as watched:
        page = watched.page
        page.locator("#books td", has_text=f"{own['delivered']:,}").first.wait_for()
        check_look(running, run.page.url)
        assert run.page.ask("pause")[0] == 409
        run.process.send_signal(signal.SIGTERM)
        status, printed = run.end()
        assert status == 3
        page.locator("#state", has_text="ended").wait_for()
        books = books_of(page)
        assert {name: books[name] for name in ("delivered", "bounced", "open")} == {
            name: own[name] for name in ("delivered", "bounced", "open")
        }
        assert {name: printed.get(name, 0) for name in books if name != "not_followed"} == {
            name: count for name, count in books.items() if name != "not_followed"
        }
        assert page.locator("#done").inner_text().startswith(f"{200 - own['open']} of 200")
        assert "exit 3" in page.locator("#note").inner_text()
        assert [text for text in watched.complaints if "ERR_CONNECTION_REFUSED" not in text] == []


def test_the_page_of_a_benchmark_ends_in_its_figures(sandbox: Sandbox, running: Any, tmp_path: Path) -> None:
    if running is None:
        return
    sandbox.post("reset")
    run = Watched(tmp_path, "bench", "--base-url", sandbox.url, "--rate", "60", "--duration", "5")
    with opened(running, run.page.url) as watched:
        page = watched.page
        page.locator("#state", has_text="running").wait_for()
        page.get_by_text("limit 60/s").wait_for()
        check_look(running, run.page.url)
        status, printed = run.end()
        assert status == 0
        page.locator("#state", has_text="ended").wait_for()
        assert books_of(page)["ok"] == printed["reached"]["ok"] == 300
        assert sandbox.lanes["send"]["arrived"] == 300
        assert page.locator(".chart path").count() >= 3
        assert [text for text in watched.complaints if "ERR_CONNECTION_REFUSED" not in text] == []
