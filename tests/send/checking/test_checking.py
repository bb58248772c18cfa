"""`sender validate --processes`: the same answers as of one process, and an end with a reason when one dies."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sender.inputs.line_batch import LineBatch
from sender.send.checking.checking import check_lines
from sender.validation import Options
from tests.support.processes import email, sender, start_sender

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

FAULTS = (
    b"{torn", b"", b"  ", b"\xff{}", b"[]", b'{"a":' * 300, json.dumps(email(1)).encode() + b"\r",
    json.dumps(email(7) | {"payload": {"to": "nobody", "identifiers": {}}}).encode(),
    json.dumps(email(3) | {"id": "job-5"}).encode(), b'{"to":"a@b.co","to":"c@d.co"}',
    json.dumps(email(8) | {"workspace": "shop"}).encode(),
    json.dumps(email(9) | {"kind": "broadcast", "broadcast_id": 3}).encode(),
)
"""One of each kind of fault; some repeat ids of good lines."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of several blocks with faults in all of them, one line that is longer than any block, and no last end."""
    made = tmp_path_factory.mktemp("checking")
    lines = [b"\xef\xbb\xbf" + json.dumps(email(1)).encode()]
    for number in range(4_000):
        lines.append(json.dumps(email(number % 3_700)).encode())
        if number % 400 == 0:
            lines += FAULTS
        if number == 2_000:
            lines.append(json.dumps(email(-1) | {"meta": "x" * 1_200_000}).encode())
    data = b"\n".join(lines)
    (made / "jobs").write_bytes(data)
    (made / "jobs.gz").write_bytes(gzip.compress(data, 1))
    return made


@pytest.mark.parametrize("arguments", [("jobs.gz", "--json"), ("-",), ("jobs", "jobs.gz", "--limit", "5000")])
def test_more_processes_say_the_same(folder: Path, arguments: tuple[str, ...]) -> None:
    stdin = (folder / "jobs").read_bytes() if "-" in arguments else None
    one, two = (sender("validate", *arguments, "--processes", number, cwd=folder, stdin=stdin) for number in ("1", "2"))
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)
    assert one.returncode == 1
    assert b"duplicate" in one.stdout
    assert b"id_conflict" in one.stdout


def test_rows_are_checked_by_the_process_that_reads_them(folder: Path) -> None:
    examples = Path(__file__).parents[3] / "examples"
    table = (str(examples / "orders.csv"), "--map", str(examples / "receipt.json"), "--attachments", str(examples))
    one, two = (sender("validate", *table, "--processes", number, cwd=folder) for number in ("1", "2"))
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)
    assert b"orders.csv row 23: message_data.total" in one.stdout


def test_a_broken_input_is_told_after_what_was_found_before(folder: Path) -> None:
    (folder / "cut.gz").write_bytes((folder / "jobs.gz").read_bytes()[:30_000])
    one, two = (sender("validate", "cut.gz", "--processes", number, cwd=folder) for number in ("1", "2"))
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)
    assert (one.returncode, b"is cut off" in one.stderr, b"torn" in one.stdout) == (3, True, True)


@pytest.mark.parametrize("text", ["0", "-1", "two", "65", ""])
def test_a_wrong_number_is_told(tmp_path: Path, text: str) -> None:
    done = sender("validate", f"--processes={text}", "-", cwd=tmp_path)
    assert (done.returncode, b"--processes takes a whole number" in done.stderr) == (2, True)


def test_answers_do_not_wait_for_further_input() -> None:
    waited = []

    def batches() -> Iterator[LineBatch]:
        yield LineBatch("f", 1, b"{torn\n")
        yield LineBatch("f")
        waited.append(True)
        yield LineBatch("f", 2, b"{torn\n")

    checked = check_lines(batches(), "email", Options(), 2)
    assert (next(checked).number, waited) == (1, [])
    assert [line.number for line in checked] == [2]


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Its children that check lines, as soon as they have begun to wait for some."""
    def found() -> list[int]:
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return [pid for pid in map(int, text.split()) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    until = time.monotonic() + 30
    while len(pids := found()) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    return pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_ends_the_check_with_a_reason(tmp_path: Path, number: signal.Signals) -> None:
    process = start_sender("validate", "--processes", "2", cwd=tmp_path)
    assert process.stdin is not None
    process.stdin.write(b"{torn\n")
    process.stdin.flush()
    os.kill(workers_of(process)[0], number)
    out, error = process.communicate(b"".join(b"{torn\n" for _ in range(9)), timeout=30)
    assert process.returncode == 3
    assert f"ended by signal {int(number)}".encode() in error
    assert b"Traceback" not in error
    assert b" jobs: " in error
    assert b"Traceback" not in out


def test_a_signal_ends_it_with_its_processes(tmp_path: Path) -> None:
    process = start_sender("validate", "--processes", "2", cwd=tmp_path)
    assert process.stdin is not None
    process.stdin.write(b"{torn\n")
    process.stdin.flush()
    pids = workers_of(process)
    for pid in (process.pid, *pids):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    process.wait(30)
    out, error = process.communicate()
    assert process.returncode == 3
    assert b"Traceback" not in out + error, error
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_its_processes_end_when_it_is_killed(tmp_path: Path) -> None:
    process = start_sender("validate", "--processes", "2", cwd=tmp_path)
    assert process.stdin is not None
    process.stdin.write(b"{torn\n")
    process.stdin.flush()
    pids = workers_of(process)
    process.kill()
    process.communicate()
    until = time.monotonic() + 30
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
