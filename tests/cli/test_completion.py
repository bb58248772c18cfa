"""Completion in the shells themselves: commands, options, values, file names."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sender.cli.commands import COMMANDS
from sender.config.settings import SETTINGS, options_of
from tests.support.processes import environment, sender
from tests.support.servers import require

if TYPE_CHECKING:
    from pathlib import Path

TYPED = [
    ("sender se", "send"),
    ("sender send --in-d", "--in-doubt"),
    ("sender send --in-doubt resend-", "resend-if-absent"),
    ("sender send --kind in_", "in_app"),
    ("sender validate rece", "receipts.jsonl"),
    ("sender send --outcomes rece", "receipts.jsonl"),
    ("sender completion z", "zsh"),
    ("sender sandbox --retry-after sec", "seconds"),
]
BASH = """
source "$1"; COMP_WORDS=($2); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_shtab_sender sender "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "receipts.jsonl").touch()
    for shell in ("bash", "zsh", "fish"):
        done = sender("completion", shell, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")
        (tmp_path / f"sender.{shell}").write_bytes(done.stdout)
    return tmp_path


def test_every_command_and_option_is_in_each_script(folder: Path) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = (folder / f"sender.{shell}").read_text()
        for word in (*COMMANDS, *(option for name in SETTINGS for option in options_of(name))):
            assert word.removeprefix("--") in script, (shell, word)


def test_bash(folder: Path) -> None:
    for typed, expected in TYPED:
        command = ["bash", "-c", BASH, "bash", "sender.bash", typed]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
        assert expected in done.stdout.split("\n"), (typed, done)


def test_fish(folder: Path) -> None:
    (fish,) = require("fish")
    for typed, expected in TYPED:
        command = [fish, "--no-config", "-c", f"source sender.fish; complete -C '{typed}'"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False,
                              env=environment(HOME=str(folder)))
        assert expected in [line.split("\t")[0] for line in done.stdout.split("\n")], (typed, done)


def test_zsh(folder: Path) -> None:
    (zsh,) = require("zsh")
    ours, theirs = pty.openpty()
    variables = environment(HOME=str(folder), TERM="xterm")
    process = subprocess.Popen([zsh, "-f", "-i"], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=variables,
                               start_new_session=True)
    os.close(theirs)
    try:
        os.write(ours, b"PS1=; mkdir f; cp sender.zsh f/_sender; fpath=($PWD/f $fpath); autoload -U compinit; "
                       b"compinit -D -u; echo re''ady\n")
        read_until(ours, "ready\r\n")
        for typed, expected in TYPED[:3] + TYPED[4:]:  # one of several is left to a menu
            os.write(ours, f"{typed}\t".encode())
            read_until(ours, expected.removeprefix(typed.split()[-1]))
            os.write(ours, b"\x15\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, text: str) -> None:
    """Fail when the terminal does not show this within half a minute."""
    seen, deadline = "", time.monotonic() + 30
    while text not in seen:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], seen
        seen += os.read(terminal, 4096).decode(errors="replace")


def test_without_shtab_the_extra_is_named() -> None:
    code = "import sys; sys.modules['shtab'] = None; from sender.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'sender[completion]'" in done.stderr
