"""The log and the live line share stderr, and neither cuts the other."""

from __future__ import annotations

import io

import pytest

from sender.runtime.screen import Screen
from tests.runtime.terminal import Terminal, rows


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


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


def test_a_line_that_a_narrower_terminal_has_broken_leaves_no_fragments(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the cursor's row was erased, and the cursor stood at the line's end: the rows above it stayed."""
    monkeypatch.setattr(Screen, "width", property(lambda _: terminal.width - 1))
    screen = Screen(terminal)
    screen.write("log\n")
    screen.show("x" * 70)
    terminal.width = 30
    assert terminal.rows() == ["log", "x" * 30, "x" * 30, "x" * 10]
    screen.show("short")
    assert terminal.rows() == ["log", "short"]
    screen.show("x" * 29)
    terminal.width = 20
    screen.write("more\n")
    screen.show("")
    assert terminal.rows() == ["log", "more", ""]


def test_several_live_lines_stay_below_the_log(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.write("first\n")
    screen.show_lines(["a 1", "b 1", "c 1"])
    screen.write("second\n")
    screen.show_lines(["a 2", "b 2"])
    assert rows(terminal.getvalue()) == ["first", "second", "a 2", "b 2"]
    screen.show_lines([])
    screen.write("third\n")
    assert [row for row in rows(terminal.getvalue()) if row] == ["first", "second", "third"]
    screen.show_lines([f"line {number}" for number in range(100)])
    assert rows(terminal.getvalue())[-1] == "line 22", "no more than the screen has rows for"
