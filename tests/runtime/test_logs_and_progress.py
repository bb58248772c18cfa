from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sender.runtime.logs import set_up
from sender.runtime.progress import Progress, Snapshot
from sender.runtime.screen import ERASE, Screen
from tests.support.processes import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.virtual_time import VirtualLoop


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


@pytest.fixture(autouse=True)
def fresh_structlog() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def rows(written: str) -> list[str]:
    """What stands on a terminal after all that was written."""
    lines = [""]
    for piece in re.split(r"(\r\x1b\[2K|\n)", written):
        if piece == ERASE:
            lines[-1] = ""
        elif piece == "\n":
            lines.append("")
        else:
            lines[-1] += piece
    return lines


def test_log_lines_stand_above_the_live_line(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.write("first\n")
    screen.show("10 sent")
    screen.write("second\n")
    screen.show("11 sent")
    assert rows(terminal.getvalue()) == ["first", "second", "11 sent"]
    screen.show("")
    screen.write("third\n")
    assert rows(terminal.getvalue()) == ["first", "second", "third", ""]


def test_a_broken_stream_stops_nobody() -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    screen = Screen(Broken())
    screen.write("x\n")
    screen.show("x")
    closed = Screen(io.StringIO())
    closed._stream.close()
    closed.write("x\n")
    assert not closed.is_terminal
    assert closed.width == 79


def test_a_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Screen(terminal).is_terminal
    monkeypatch.setenv("TERM", "dumb")
    assert not Screen(terminal).is_terminal


def figures() -> Snapshot:
    return Snapshot(500, 400, 390, 10, 500, 1000, 100)


def run_progress(loop: VirtualLoop, progress: Progress, seconds: float) -> None:
    async def both() -> None:
        task = asyncio.create_task(progress.run())
        await asyncio.sleep(seconds)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    loop.run_until_complete(both())


def test_the_bar_is_drawn_and_taken_away(virtual: VirtualLoop, terminal: Terminal) -> None:
    run_progress(virtual, Progress(figures, stream=terminal), 3.1)
    drawn = terminal.getvalue().split(ERASE)
    assert len(drawn) == 14
    assert "390 sent" in drawn[3]
    assert rows(terminal.getvalue()) == [""]


def test_lines_where_there_is_no_terminal(virtual: VirtualLoop) -> None:
    stream = io.StringIO()
    with structlog.testing.capture_logs() as lines:
        run_progress(virtual, Progress(figures, stream=stream), 16)
    assert stream.getvalue() == ""
    assert [(line["event"], line["sent"], line["problems"]) for line in lines] == [("progress", 390, 10)] * 3


def test_no_progress(virtual: VirtualLoop, terminal: Terminal) -> None:
    run_progress(virtual, Progress(figures, stream=terminal, shown=False), 16)
    assert terminal.getvalue() == ""


counts = st.integers(0, 10**9)


@given(st.builds(Snapshot, counts, counts, counts, counts, counts, st.none() | counts, counts), st.integers(0, 200))
def test_any_line_fits(now: Snapshot, width: int) -> None:
    progress = Progress(lambda: now)
    progress._measure(now, 0.25)
    line = progress.line(now, width)
    assert len(line) <= width
    assert line.isprintable()
    if width >= 40:
        assert f"{now.sent:,} sent" in line


def logged(capsys: pytest.CaptureFixture[str], form: str, level: str = "info", **values: Any) -> str:
    set_up(form, level)
    log = structlog.get_logger()
    log.debug("too little")
    log.warning("connected", **values)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_logs_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    text = logged(
        capsys, "json", url="redis://user:secret@host/0", more=["amqp://u:secret@h"], deep={"a": "x://u:secret@h"}
    )
    record = json.loads(text)
    assert (record["event"], record["level"], record["url"]) == ("connected", "warning", "redis://***@host/0")
    assert "secret" not in text
    assert text.count("\n") == 1


def test_logs_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    text = logged(capsys, "console", url="redis://user:secret@host/0")
    assert "connected" in text
    assert "secret" not in text
    assert "\x1b" not in text
    assert logged(capsys, "console", "error") == ""


@pytest.mark.parametrize("value", [2**70, "\udce9", b"\xff", object(), None, float("nan"), {1: 2}, {3}])
@pytest.mark.parametrize("form", ["console", "json"])
def test_anything_can_be_logged(form: str, value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "connected" in logged(capsys, form, value=value)


def test_a_real_terminal() -> None:
    """Log lines and the bar share a terminal, and nothing is left of the bar at its end."""
    code = """
import asyncio, structlog
from sender.runtime.logs import set_up
from sender.runtime.progress import Progress, Snapshot
async def main():
    set_up("console", "info")
    task = asyncio.create_task(Progress(lambda: Snapshot(5, 4, 3, 1, 5, 10, 1)).run())
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
    assert "3 sent" in text
    above, last = rows(text)
    assert above.endswith("in between")
    assert "sent" not in above
    assert last == ""
