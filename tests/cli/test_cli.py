from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sender.cli import main as cli
from sender.cli.argument_parser import make_parser
from sender.cli.commands import COMMANDS
from sender.config.settings import SETTINGS, options_of
from sender.errors import HaltError, OutputError, UsageError
from tests.support.processes import email, environment, sender, start_sender, write_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

TORN = b"{torn\n"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = sender(*arguments, cwd=Path.cwd())
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str) -> None:
    """It began with up to thirty lines of options in brackets."""
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    purpose, *lines = done.stdout.splitlines()
    assert purpose.lower() == f"{COMMANDS[command].purpose}.".lower()
    begin = lines.index(next(line for line in lines if line.startswith("usage: ")))
    examples = [f"  {part}" for text, line in COMMANDS[command].examples for part in (f"# {text}", line)]
    assert [line for line in lines[:begin] if line] == examples
    assert "[-" not in lines[begin], "no list of options"
    assert lines[begin].startswith(f"usage: sender {command}")
    assert lines[begin + 1] == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_what_the_command_takes(command: str) -> None:
    examples = COMMANDS[command].examples
    assert len(examples) == 3
    for _, line in examples:
        words = shlex.split(line.rpartition("| ")[2].partition(" > ")[0])
        assert words[:2] == ["sender", command]
        make_parser(command)[1].parse_intermixed_args(words[2:])  # raises UsageError


def test_every_file_of_a_command_is_listed() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        has_command = "def run(args" in path.read_text()
        assert (path.stem in COMMANDS) == has_command, path.stem


def test_help_shows_every_option() -> None:
    texts = {command: run(command, "--help").stdout for command in ("send", "consume", "follow")}
    for name, setting in SETTINGS.items():
        text = texts[{"queues": "consume", "follow": "follow"}.get(setting.table, "send")]
        assert all(option in text for option in options_of(name))


def test_help_of_help() -> None:
    assert run("help", "validate").stdout == run("validate", "--help").stdout
    assert run("help").stdout == run("--help").stdout
    bare = run()
    assert (bare.returncode, bare.stdout, bare.stderr) == (2, "", run("--help").stdout)
    assert run("--version").stdout.startswith("sender ")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sender.cli.main import main; main(['--help']); "
        "print([*{'aiohttp', 'structlog', 'anyio', 'orjson', 'asyncio', 'argparse', 'shtab'} & sys.modules.keys()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["snd"], "is send meant"),
        (["send", "--outcome", "x"], "is --outcomes meant"),
        (["send", "--nonsense"], "see sender send --help"),
        (["consume"], "name the URL of a queue"),
        (["send", "x", "--rate"], "--rate: expected one argument"),
        (["send", "x", "--api-key", "secret"], "the key is never an argument"),
        (["send", "x", "--api-key=secret"], "the key is never an argument"),
        (["send", "x", "--base-url", "https://user:secret@host"], "--base-url must not hold a user or password"),
        (["outcomes", "nowhere"], "no such file"),
        (["sandbox", "--fault", "nonsense=1"], "there is no fault nonsense"),
    ],
)
def test_wrong_words_on_the_command_line(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_that_is_wrong_before_a_run_is_told_at_once(tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs", [email(1)])
    done = sender(
        "send", "jobs", "--base-url", "http://example.com", "--outcomes", "jobs", cwd=tmp_path, SENDER_API_KEY="a b"
    )
    assert done.returncode == 2
    for words in (b"3 things", b"plain http", b"does not hold a key", b"jobs is an input"):
        assert words in done.stderr


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_input_is_not_written_over_by_another_name(link: Callable[[str, str], None], tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs", [email(1)])
    link(str(tmp_path / "jobs"), str(tmp_path / "other"))
    for option in ("--outcomes", "--ledger"):
        done = sender("send", "jobs", option, "other", "--dry-run", cwd=tmp_path)
        assert (done.returncode, b"is an input" in done.stderr) == (2, True)


def test_options_may_stand_between_inputs(tmp_path: Path) -> None:
    for name in ("a", "b", "-c"):
        write_jobs(tmp_path / name, [email(1) | {"id": name}])
    assert sender("validate", "a", "--kind", "email", "b", cwd=tmp_path).stderr.startswith(b"2 jobs")
    assert sender("validate", "--kind", "email", "--", "a", "-c", cwd=tmp_path).stderr.startswith(b"2 jobs")


def test_a_name_that_no_outcome_could_tell(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).write_bytes(TORN)
    done = sender("validate", name, "--json", cwd=tmp_path)
    assert (done.returncode, b"not UTF-8" in done.stderr, b"Traceback" in done.stderr) == (2, True, False)


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = line.replace("sender", f"{sys.executable} -m sender")
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=environment(PYTHONUNBUFFERED=""),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("jobs", [1, 20_000])
def test_output_that_nobody_reads(jobs: int, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_bytes(TORN * jobs)
    done = shell("sender validate jobs | true; echo ${PIPESTATUS[0]}", tmp_path)
    assert int(done.stdout) == (1 if jobs == 1 else 3)
    assert "rror" not in done.stderr
    full = shell("sender validate jobs > /dev/full", tmp_path)
    assert full.returncode == 3
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr


def test_closed_streams(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_bytes(TORN)
    assert shell("sender validate jobs >&-", tmp_path).returncode == 1
    assert shell("sender validate jobs 2>&-", tmp_path).stdout.count("\n") == 1
    assert shell("sender validate jobs >&- 2>&-", tmp_path).returncode == 1
    assert shell("sender validate <&-", tmp_path).returncode == 2


def test_sigterm_is_exit_3(tmp_path: Path) -> None:
    process = start_sender("validate", "-", cwd=tmp_path)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(TORN * 10_000)  # more than the pipe to us takes: it has begun when something can be read
    process.stdin.flush()
    assert process.stdout.read(1)
    process.terminate()
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, b"Traceback" in stderr) == (3, False)


def test_a_signal_after_the_end_changes_nothing() -> None:
    """A second Ctrl-C while Python was ending killed it: the exit status was that of the signal."""
    code = (
        "import atexit, os, signal, sys; from sender.cli.main import main; sys.argv[1:] = ['--version']; "
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("wrong"), 2, "sender: wrong\n"),
        (HaltError("halted"), 3, "sender: halted\n"),
        (ExceptionGroup("of a task group", [ExceptionGroup("", [OutputError("full")])]), 3, "sender: full\n"),
        (KeyboardInterrupt(), 3, ""),
        (PermissionError(13, "Permission denied", "file"), 3, "stopped by the system: Permission denied (file)"),
        (ValueError("ada@example.com"), 3, "a fault of sender itself, ValueError"),
    ],
)
def test_how_it_ends(
    error: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.main(["send"]) == status
    stderr = capsys.readouterr().err
    assert words in stderr
    assert "ada@example.com" not in stderr
