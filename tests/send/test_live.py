"""A run that is watched: the page in a real browser, its books beside the run's own, and the terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from sender.jobs.status import STATUSES
from tests.runtime.terminal import Terminal
from tests.send.test_stopping import end, until
from tests.support.browser import browser, chromium, missing, opened
from tests.support.fork_server import popen
from tests.support.live_pages import TOKEN, LivePage, picture, table, url_in, write_token
from tests.support.processes import SENDER, email, environment, outcomes, running_sandbox, sender, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

SLOW = bool(os.environ.get("SENDER_PICTURES"))
"""For a picture it takes more than a few seconds."""
JOBS = 9000 if SLOW else 3000
FASTEST = "100" if SLOW else "1000"
LOOKED_AT = 100 if SLOW else 20
"""Jobs a second while the page is looked at: they last until all is seen."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox("--rate-send", "100000", "--latency", "20-120") as running:
        yield running


class Watched:
    """A run of `send` whose log goes into a file."""

    def __init__(self, sandbox: Sandbox, folder: Path, jobs: Path, *more: str) -> None:
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process: subprocess.Popen[bytes] = popen(
                [*SENDER, "send", str(jobs), "--base-url", sandbox.url, "--json", "--no-reconcile",
                 "--log-format", "json", "--live", "0", *more],
                cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )
        until(lambda: url_in(self.log.read_text()) or self.process.poll() is not None)
        url = url_in(self.log.read_text())
        assert url is not None, self.log.read_text()
        self.page = LivePage(url)


def job_of(number: int) -> dict[str, Any]:
    """Some are not valid, as in a real export."""
    job = email(number)
    if number % 45 == 7:
        job["payload"]["to"] = "nobody"
    return job


def arrived(sandbox: Sandbox) -> int:
    return int(sandbox.lanes["send"]["arrived"])


def test_the_page_says_what_the_books_say(sandbox: Sandbox, tmp_path: Path) -> None:
    if chromium() is None:
        missing("the live page: its figures, pause, resume, width on a phone, dark")
        return
    jobs = write_jobs(tmp_path / "receipts.jsonl", map(job_of, range(JOBS)))
    run = Watched(sandbox, tmp_path, jobs, "--rate", FASTEST, "--live-token-file", write_token(tmp_path))
    until(lambda: run.page.ask("rate", rate=LOOKED_AT)[0] == 200)
    with browser() as running, opened(running, run.page.url) as watched:
        page = watched.page
        page.locator("#state", has_text="running").wait_for()
        if SLOW:
            time.sleep(45)
        for name, width, dark in (("live", 1200, False), ("live-dark", 1200, True), ("live-phone", 400, False)):
            with opened(running, run.page.url, width=width, dark=dark) as other:
                other.page.locator(".chart path").nth(3).wait_for(state="attached")
                assert other.page.evaluate("document.documentElement.scrollWidth") == width
                colour = other.page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (colour == "rgb(15, 21, 28)") is dark
                picture(other.page, name)
                assert other.complaints == []
        assert not page.locator("#actions").is_visible()
        page.locator("#token").fill("this is not the token at all")
        page.get_by_role("button", name="Use it").click()
        page.get_by_role("button", name="Pause").click()
        page.get_by_text("this token is not the right one").wait_for()
        page.locator("#token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        page.get_by_role("button", name="Pause").click()
        asked = time.monotonic()
        page.locator("#state", has_text="paused").wait_for()
        time.sleep(max(0.0, asked + 1 - time.monotonic()))
        before = arrived(sandbox)
        time.sleep(0.5)
        assert arrived(sandbox) == before, "a pause holds within a second"
        page.locator("#rate").fill("2000")
        page.get_by_role("button", name="Set the rate").click()
        page.get_by_text(f"at most {FASTEST} a second").wait_for()
        page.locator("#rate").fill("90")
        page.get_by_role("button", name="Set the rate").click()
        page.get_by_text("90 a second").wait_for()
        page.get_by_role("button", name="Go on").click()
        page.locator("#state", has_text="running").wait_for()
        page.get_by_text("limit 90/s").wait_for()
        assert run.page.ask("rate", rate=float(FASTEST))[0] == 200
        summary, _ = end(run.process, 120)
        page.locator("#state", has_text="ended").wait_for()
        books = {name.replace(" ", "_"): int(count.replace(",", "")) for name, count in table(page, "books")}
        assert books == {name: summary[name] for name in (*STATUSES, "not_started")}
        log = outcomes(tmp_path / "receipts.jsonl.outcomes.jsonl")
        assert books["sent"] == sum(line["status"] == "sent" for line in log)
        assert table(page, "problems")[0][:3] == ["bad_recipient", "invalid", str(books["invalid"])]
        lane = table(page, "lanes")[0]
        assert [lane[0], lane[2]] == ["send", f"{summary['lanes']['send']['requests']:,}"]
        assert "exit 1: finished, but not every job stands as sent" in page.locator("#note").inner_text()
        assert not page.locator("#operate").is_visible()
        page.wait_for_timeout(2500)
        assert page.locator("#state").inner_text() == "ended", "a page that is left open keeps its last figures"
        assert {urlsplit(url).netloc for url in watched.requests} == {urlsplit(run.page.url).netloc}
        assert TOKEN not in "".join(watched.requests), "no URL holds the token"
        asked = "Failed to load resource"  # 401 and 409 as they were asked for, and nobody there at the end
        assert [text for text in watched.complaints if not text.startswith(asked)] == []
    assert TOKEN not in run.log.read_text()


def test_sigterm_with_open_pages_and_a_port_that_is_taken(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path / "receipts.jsonl", map(email, range(2000)))
    run = Watched(sandbox, tmp_path, jobs, "--rate", "100")
    port = urlsplit(run.page.url).port
    assert port is not None
    other = sender(
        "send", str(jobs), "--base-url", sandbox.url, "--outcomes", "other.jsonl", "--live", str(port), cwd=tmp_path
    )
    assert other.returncode == 2
    assert b"cannot listen on 127.0.0.1 port" in other.stderr
    assert not (tmp_path / "other.jsonl").exists()
    pages = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for number, page in enumerate(pages):
        page.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        if number % 2:  # the others read nothing more
            page.recv(1000)
    until(lambda: run.page.figures["counts"].get("sent", 0) > 20)
    assert run.page.ask("pause")[0] == 403
    run.process.send_signal(signal.SIGTERM)
    summary, _ = end(run.process)
    assert run.process.returncode == 3
    assert summary["not_started"] > 0
    seen = b""
    while data := pages[1].recv(1 << 16):
        seen += data
    events = [json.loads(line[6:]) for line in seen.split(b"\n") if line.startswith(b"data: ")]
    last = events[-1]
    assert last["state"] == "ended"
    assert last["counts"] == {name: summary[name] for name in (*STATUSES, "not_started")}
    for page in pages:
        page.close()


def test_the_terminal_shows_the_same_figures(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path / "receipts.jsonl", map(job_of, range(240)))
    mine, its = pty.openpty()
    process = popen(
        [*SENDER, "send", str(jobs), "--base-url", sandbox.url, "--no-reconcile", "--rate", "100", "--watch"],
        cwd=tmp_path, env=environment(TERM="xterm", COLUMNS="100"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=its,
    )
    os.close(its)
    written: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(mine, 4096):
                written.append(data)
        except OSError:  # the other side is closed
            pass

    reading = threading.Thread(target=read)
    reading.start()
    out, _ = process.communicate(timeout=60)
    reading.join(10)
    os.close(mine)
    text = b"".join(written).decode().replace("\r\n", "\n")
    frames = text.split("\r\x1b[J")
    assert any("sender send · running" in frame and "of 100/s" in frame and "books" in frame for frame in frames)
    assert any("6 invalid" in frame and "problem  6 bad_recipient (invalid)" in frame for frame in frames)
    screen = Terminal(100)
    screen.write(text)
    assert not any("running" in row for row in screen.rows()), "the figures make room for the summary"
    assert b"234" in out
