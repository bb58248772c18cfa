"""Progress: the arithmetic of its line, and where the line is shown."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pty
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sender.runtime.progress import Progress, Snapshot, progress_line
from sender.runtime.screen import ERASE
from tests.runtime.terminal import Terminal, rows
from tests.support.processes import environment

if TYPE_CHECKING:
    from tests.support.virtual_time import VirtualLoop

HALFWAY = Snapshot(total=1000, done=400, sent=390, rejected=10)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def run_progress(loop: VirtualLoop, progress: Progress, seconds: float) -> None:
    async def both() -> None:
        task = asyncio.create_task(progress.run())
        await asyncio.sleep(seconds)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    loop.run_until_complete(both())


def test_the_line_tells_what_is_done_of_all_and_not_of_what_was_read() -> None:
    """897 of 19,260 were sent, and it said 32 % and 0:20 left for 150 s."""
    now = Snapshot(total=19_260, done=2_747, sent=2_693, sent_before=50, invalid=4)
    told = "14 %  2,747 of 19,260 · 98/s · 2:48 left · 50 sent before · 4 invalid"
    assert progress_line(now, 98.0, 79) == f"━······· {told}"
    assert progress_line(now, 98.0, len(told)) == told
    assert progress_line(now, 98.0, 40) == "14 %  2,747 of 19,260 · 98/s · 2:48 left"
    assert progress_line(now, 0.0, 79).endswith("14 %  2,747 of 19,260 · 0/s · 50 sent before · 4 invalid")


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (Snapshot(done=60, sent=60), "60 of a number not yet counted · 7/s"),
        (Snapshot(done=60, sent=60, countable=False), "60 of an unknown number · 7/s"),
        (Snapshot(total=0), "0 of 0 · 7/s"),
        (Snapshot(total=100, done=100, sent=90, rejected=1, failed=2, in_doubt=7),
         "100 %  100 of 100 · 7/s · 1 rejected · 2 failed · 7 in doubt"),
        (Snapshot(total=26_000, done=800), "3 %  800 of 26,000 · 7/s · 1:00:00 left"),
        (Snapshot(total=999, done=900, in_hand=14, stopping=True), "stopping: 14 in hand; Ctrl-C again ends now"),
    ],
)
def test_what_is_told(now: Snapshot, told: str) -> None:
    assert progress_line(now, 7.0, 78).endswith(told)


def test_jobs_sent_before_are_no_problem() -> None:
    now = Snapshot(total=100, done=50, sent_before=50)
    assert now.problems == 0
    assert "not sent" not in progress_line(now, 10.0, 200)


def test_the_rate_is_that_of_this_run(virtual: VirtualLoop, terminal: Terminal) -> None:
    """Jobs that earlier runs sent pass by in an instant, and say nothing of how long the rest takes."""
    begin = virtual.time()

    def look() -> Snapshot:
        sent = round((virtual.time() - begin) * 100)
        return Snapshot(total=20_000, done=10_000 + sent, sent=sent, sent_before=10_000 if sent > 100 else 0)

    run_progress(virtual, Progress(look, stream=terminal), 30.1)
    last = terminal.getvalue().split(ERASE)[-2]
    assert "100/s" in last
    assert "1:10 left" in last


def test_the_bar_is_drawn_and_taken_away(virtual: VirtualLoop, terminal: Terminal) -> None:
    run_progress(virtual, Progress(lambda: HALFWAY, stream=terminal), 3.1)
    drawn = terminal.getvalue().split(ERASE)
    assert len(drawn) == 14
    assert "━━━····· 40 %  400 of 1,000" in drawn[3]
    assert rows(terminal.getvalue()) == [""]


def test_lines_where_there_is_no_terminal(virtual: VirtualLoop) -> None:
    stream = io.StringIO()
    with structlog.testing.capture_logs() as lines:
        run_progress(virtual, Progress(lambda: HALFWAY, stream=stream), 16)
    assert stream.getvalue() == ""
    assert [(line["event"], line["sent"], line["problems"]) for line in lines] == [("progress", 390, 10)] * 3
    assert [(line["done"], line["total"]) for line in lines] == [(400, 1000)] * 3


def test_the_log_tells_that_it_is_stopping(virtual: VirtualLoop) -> None:
    with structlog.testing.capture_logs() as lines:
        run_progress(virtual, Progress(lambda: Snapshot(in_hand=3, stopping=True), stream=io.StringIO()), 6)
    assert [(line["event"], line["in_hand"]) for line in lines] == [("stopping", 3)]


def test_no_progress(virtual: VirtualLoop, terminal: Terminal) -> None:
    run_progress(virtual, Progress(lambda: HALFWAY, stream=terminal, shown=False), 16)
    assert terminal.getvalue() == ""


counts = st.integers(0, 10**9)


@given(
    st.builds(
        Snapshot, total=st.none() | counts, done=counts, sent=counts, sent_before=counts, invalid=counts,
        in_doubt=counts, in_hand=counts, countable=st.booleans(), stopping=st.booleans(),
    ),
    st.floats(0, 10**6),
    st.integers(0, 200),
)
def test_any_line_fits(now: Snapshot, rate: float, width: int) -> None:
    line = progress_line(now, rate, width)
    assert len(line) <= width
    assert line.isprintable()
    if width >= 60:
        assert f"{now.in_hand if now.stopping else now.done:,}" in line


@given(counts, counts, st.floats(0, 10**6))
def test_the_share_and_the_time_left_are_those_of_the_whole(total: int, done: int, rate: float) -> None:
    now = Snapshot(total=total, done=done)
    assert now.share is None if total == 0 else now.share == min(1, done / total)
    left = now.seconds_left(rate)
    if left is not None:
        assert done + left * rate == pytest.approx(total)
    else:
        assert done >= total or rate < 0.1


def test_a_real_terminal() -> None:
    """Log lines and the bar share a terminal, and nothing is left of the bar at its end."""
    code = """
import asyncio, structlog
from sender.runtime.logs import set_up
from sender.runtime.progress import Progress, Snapshot
async def main():
    set_up("console", "info")
    task = asyncio.create_task(Progress(lambda: Snapshot(total=10, done=4, sent=3, invalid=1)).run())
    await asyncio.sleep(0.4)
    structlog.get_logger().warning("in between")
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
asyncio.run(main())
"""
    ours, theirs = pty.openpty()
    variables = environment(TERM="xterm", NO_COLOR="1")
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=variables)
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 20)[0]:
        try:
            written += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(10) == 0
    text = written.decode().replace("\r\n", "\n")
    assert "4 of 10" in text
    above, last = rows(text)
    assert above.endswith("in between")
    assert "of 10" not in above
    assert last == ""
