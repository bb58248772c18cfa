"""The live page of a fleet: a pause for all replicas, and what lies in the dead letter."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.runtime.terminal import Terminal
from tests.support.fork_server import popen
from tests.support.live_pages import TOKEN, LivePage, url_in, write_token
from tests.support.processes import SENDER, email, environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fleet import Consumer, Fleet

RATE = ("--rate", "80", "--reconcile-lag", "3600")


def page_of(fleet: Fleet, consumer: Consumer) -> LivePage:
    fleet.until(lambda: url_in(consumer.told))
    url = url_in(consumer.told)
    assert url is not None
    return LivePage(url)


def replicas(page: LivePage) -> list[dict[str, Any]]:
    return list(page.figures["replicas"])


def test_the_pages_pause_holds_the_whole_fleet_and_letters_go_back_to_work(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("--rate-send", "100000")
    wrong = [email(n) for n in range(1000, 1004)]
    for job in wrong:
        job["payload"]["to"] = "nobody"
    fleet.put(*wrong, *[email(n) for n in range(300)])
    fleet.warm(80.0)
    live = ("--live", "0", "--live-token-file", write_token(fleet.folder), "--live-personal")
    one, other = fleet.start(*RATE, *live), fleet.start(*RATE)
    page = page_of(fleet, one)
    fleet.until_sent(40)
    fleet.until(lambda: len(replicas(page)) == 2)
    assert [one["own"] for one in replicas(page)].count(True) == 1
    assert page.ask("pause") == (200, "paused")
    asked = time.time()
    fleet.until(lambda: page.figures["state"] == "paused")
    time.sleep(max(0.0, asked + 1 - time.time()))
    before = fleet.arrived
    time.sleep(0.5)
    assert fleet.arrived == before, "all replicas stand within a second"
    assert before < 300
    assert page.ask("rate", rate=60) == (200, "60 a second")
    assert page.ask("resume") == (200, "resumed")
    fleet.until_sent(300)
    fleet.until(lambda: fleet.open == 0)
    fleet.until(lambda: page.figures["lanes"][0]["limit"] == 60.0)
    figures = page.figures
    assert figures["queues"][0]["name"].endswith("stream=jobs&group=senders")
    assert all(not condition["reason"] for condition in figures["conditions"]), figures["conditions"]

    status, letters = page.ask("letters")
    assert status == 200
    assert sorted(letter["id"] for letter in letters) == [f"job-{n}" for n in range(1000, 1004)]
    assert {letter["code"] for letter in letters} == {"bad_recipient"}
    chosen = min(letters, key=lambda letter: str(letter["id"]))
    assert page.ask("repair", letter=chosen["name"], line=chosen["line"])[0] == 409, "it is as wrong as before"
    mended = json.loads(chosen["line"])
    mended["payload"]["to"] = "person1000@example.com"
    assert page.ask("repair", letter="nobody", line=json.dumps(mended)) == (200, "4 left")
    done = page.ask("repair", letter=chosen["name"], line=json.dumps(mended))
    assert done == (200, "1 bad_recipient -> queue, 3 left")
    fleet.until_sent(301)
    again = [letter["name"] for letter in letters if letter is not chosen][:2]
    assert page.ask("redrive", letters=again) == (200, "2 bad_recipient -> queue, 1 left")
    fleet.until(lambda: fleet.open == 0)
    fleet.until(lambda: len(page.ask("letters")[1]) == 3, 30)
    assert page.ask("redrive", letters=[])[0] == 409

    for consumer in (other, one):
        consumer.signal(signal.SIGTERM)
        assert consumer.wait() == 0
    lines = [line for consumer in (one, other) for line in consumer.outcomes]
    assert sum(line["status"] == "sent" for line in lines) == 301
    assert TOKEN not in one.told
    assert "person1000@example.com" not in one.told


def test_the_page_counts_what_the_log_counts_and_shows_nobodys_data(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("--rate-send", "100000")
    bad = email(900)
    bad["payload"]["to"] = "nobody"
    fleet.put(bad, *[email(n) for n in range(60)], email(0))
    fleet.warm(80.0)
    one = fleet.start(*RATE, "--live", "0", "--live-token-file", write_token(fleet.folder), "--health-port", "0")
    page = page_of(fleet, one)
    fleet.until(lambda: fleet.open == 0 and fleet.arrived == 60)
    books = Counter(line["status"] for line in one.outcomes)
    assert books == {"sent": 60, "invalid": 1, "duplicate": 1}
    fleet.until(lambda: Counter(page.figures["counts"]) == books)  # it looks once a second
    assert page.figures["dead_letters"] == {"written": 1, "waiting": 0, "refused": 0}
    status, letters = page.ask("letters")
    assert status == 200
    assert (letters[0]["id"], letters[0]["line"]) == (None, None)
    status, error = page.ask("repair", letter=letters[0]["name"], line="{}")
    assert status == 409
    assert "--live-personal" in error
    text = json.dumps(page.figures)
    assert "person" not in text
    assert "job-" not in text
    fleet.end_all()


def test_the_terminal_shows_a_consumer(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("--rate-send", "100000")
    bad = email(900)
    bad["payload"]["to"] = "nobody"
    fleet.put(bad, *[email(n) for n in range(150)])
    fleet.warm(80.0)
    command = [*SENDER, "consume", fleet.url(), "--state", fleet.state_url, "--outcomes", "watched.jsonl", "--base-url",
               fleet.sandbox.url, "--dead-letter", f"{fleet.broker.url}?stream=dead", *RATE, "--watch"]
    mine, its = pty.openpty()
    process = popen(command, cwd=fleet.folder, env=environment(TERM="xterm", COLUMNS="110"), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=its)
    os.close(its)
    written = b""
    asked = False
    with suppress(OSError):  # the other side is closed
        while data := os.read(mine, 4096):
            written += data
            if not asked and b"150 sent" in written and fleet.open == 0:
                process.send_signal(signal.SIGTERM)
                asked = True
    os.close(mine)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    text = written.decode().replace("\r\n", "\n")
    frames = text.split("\r\x1b[J")
    last = next(frame for frame in reversed(frames) if "sender consume" in frame)
    assert any("running" in frame and "of 80/s" in frame for frame in frames)
    assert "150 sent · 1 invalid" in last
    assert "problem  1 bad_recipient (invalid)" in last
    assert re.search(r"queue    \S+stream=jobs&group=senders: \d+ wait there", last)
    assert "dead     1 letters written · 0 wait" in last
    assert "person" not in text
    screen = Terminal(110)
    screen.write(text)
    assert not any("sender consume ·" in row for row in screen.rows()), "the figures make room for the end"
    assert fleet.arrived == 150
    assert b"person" not in out
