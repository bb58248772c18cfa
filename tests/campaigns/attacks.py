"""What one start of `sender send` may suffer in the crash campaign; each attack says whether the run ended by itself.

An attack ends only when its process has ended. An undisturbed end leaves exit status 0 or 1; each other must be one
that the attack explains.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.processes import KEY, email, environment

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

RATE = "400"
RUN = "from sender.cli.main import main\nsys.exit(main(sys.argv[2:]))\n"
FULL_DISK = (
    "import resource, signal, sys\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))\n"
) + RUN
READ_ONLY_LOG = (
    "import errno, sys\n"
    "from sender.outcomes.outcome_log import OutcomeLog\n"
    "real, left = OutcomeLog._append, [int(sys.argv[1])]\n"
    "def append(self, data):\n"
    "    left[0] -= 1\n"
    "    if left[0] < 0: raise OSError(errno.EROFS, 'Read-only file system')\n"
    "    real(self, data)\n"
    "OutcomeLog._append = append\n"
) + RUN
CLOCK_STEP = (
    "import sys, time\n"
    "real, begin = time.time, time.monotonic()\n"
    "step, after = map(float, sys.argv[1].split(','))\n"
    "time.time = lambda: real() + (step if time.monotonic() - begin > after else 0.0)\n"
) + RUN
"""The machine's clock is set while the program runs; the next start sees it right again."""


@dataclass
class Stage:
    """Where a round plays: one folder, one server, one source of chance."""

    sandbox: Sandbox
    cwd: Path
    chance: random.Random
    lines: bytearray = field(default_factory=bytearray)
    """Outcome lines in the order of their writing, whether the log was a file or a pipe."""
    collected: int = 0
    """Bytes of the file among them."""

    @property
    def log(self) -> Path:
        return self.cwd / "jobs.jsonl.outcomes.jsonl"

    def written(self) -> bytes:
        """All outcome lines, wherever they went, in the order of their writing."""
        new = self.log.read_bytes()[self.collected :] if self.log.exists() else b""
        whole = new[: new.rfind(b"\n") + 1]
        self.lines += whole
        self.collected += len(whole)
        return bytes(self.lines)

    @property
    def environment(self) -> dict[str, str]:
        return environment(XDG_STATE_HOME=str(self.cwd / "state"))

    def command(self, name: str = "jobs.jsonl", *more: str) -> list[str]:
        return ["send", name, "--base-url", self.sandbox.url, "--rate", RATE, "--timeout", "2", "--json",
                "--no-progress", "--no-preflight", "--no-reconcile", *more]

    def start(self, command: list[str], program: str = "", argument: str = "") -> subprocess.Popen[bytes]:
        whole = [sys.executable, "-c", program, argument] if program else [sys.executable, "-m", "sender"]
        return subprocess.Popen([*whole, *command], cwd=self.cwd, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def usual_faults(self) -> None:
        """Some sends are reset after they were accepted, and nothing else goes wrong at the server."""
        self.sandbox.heal()
        self.sandbox.post("faults", fault="reset_after", probability=0.02)

    def send_as_stranger(self, person: str) -> None:
        """A message that no ledger knows: somebody else uses the same key and template."""
        payload = email(0)["payload"] | {"identifiers": {"id": person}, "message_data": {"n": "stranger"}}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.sandbox.url}/v1/send/email", json.dumps(payload).encode(), headers)
        with suppress(OSError):  # the server's faults strike strangers, too
            urllib.request.urlopen(request, timeout=2).close()

    def moment(self) -> float:
        """Seconds until something happens to a run, most often while it sends."""
        return self.chance.uniform(0.3, 1.8)


def kill(stage: Stage) -> bool:
    return _killed(stage.start(stage.command()), stage.moment())


def full_disk(stage: Stage) -> bool:
    """Log and ledger may grow by some kilobytes more; retries are due meanwhile."""
    size = max((file.stat().st_size for file in stage.cwd.iterdir()), default=0)
    stage.sandbox.post("faults", fault="status_500", probability=0.2)
    run = stage.start(stage.command(), FULL_DISK, str(size + stage.chance.randrange(1, 50_000)))
    try:
        return _halted(run)
    finally:
        stage.usual_faults()


def read_only_log(stage: Stage) -> bool:
    return _halted(stage.start(stage.command(), READ_ONLY_LOG, str(stage.chance.randrange(12))))


def clock_step(stage: Stage) -> bool:
    """The clock is set by up to half an hour either way, and the run killed while it is wrong."""
    step = stage.chance.choice((-1800, -600, -130, -5, 5, 130, 600, 1800))
    run = stage.start(stage.command(), CLOCK_STEP, f"{step},{stage.chance.uniform(0.3, 1.2)}")
    return _killed(run, stage.moment())


def stop_and_go(stage: Stage) -> bool:
    """SIGSTOP for longer than the timeout of a request; then killed, or left to its end."""
    run = stage.start(stage.command())
    time.sleep(stage.moment())
    run.send_signal(signal.SIGSTOP)
    time.sleep(3)
    run.send_signal(signal.SIGCONT)
    return _killed(run, stage.moment())


def paused_log_pipe(stage: Stage) -> bool:
    """The log is a pipe whose reader stops to read; the run is ended by two signals, or killed."""
    stage.written()
    pipe = stage.cwd / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    run = stage.start(stage.command("jobs.jsonl", "--outcomes", str(pipe), "--ledger", f"{stage.log.name}.ledger"))
    try:
        if stage.chance.random() < 0.5:
            return _killed(run, stage.moment())
        time.sleep(stage.moment())
        for _ in range(2):
            run.send_signal(signal.SIGINT)
            time.sleep(0.3)
        return _ended(run, 20, {-signal.SIGINT, 0, 1, 3})
    finally:
        got = b"".join(_drained(reader))
        stage.lines += got[: got.rfind(b"\n") + 1]  # a last line may be torn; the next run writes it again
        os.close(reader)
        pipe.unlink()


def renamed_input(stage: Stage) -> bool:
    """The same jobs by another name: refused, and nothing is sent, once the memory knows one of them as sent."""
    known = stage.log.exists() and b'"sent"' in stage.log.read_bytes()
    before = stage.sandbox.get("stats")["requests"]
    (stage.cwd / "jobs.jsonl").rename(stage.cwd / "other.jsonl")
    try:
        if known:
            _ended(stage.start(stage.command("other.jsonl")), 30, {2})
            assert stage.sandbox.get("stats")["requests"] == before, "a renamed input was sent"
    finally:
        (stage.cwd / "other.jsonl").rename(stage.cwd / "jobs.jsonl")
    return False


def foreign_sender(stage: Stage) -> bool:
    """Somebody else sends the same template with the same key, to people of ours and to others, beside a run."""
    run = stage.start(stage.command())
    until = time.monotonic() + stage.moment()
    while time.monotonic() < until and run.poll() is None:
        person = stage.chance.choice((f"person-{stage.chance.randrange(1200)}", f"stranger-{stage.chance.random()}"))
        stage.send_as_stranger(person)
        time.sleep(0.01)
    return _killed(run, 0.01)


ATTACKS: dict[str, tuple[Callable[[Stage], bool], int]] = {
    "kill -9": (kill, 12),
    "full disk": (full_disk, 4),
    "read-only log": (read_only_log, 2),
    "clock step and kill -9": (clock_step, 3),
    "SIGSTOP and kill -9": (stop_and_go, 2),
    "paused log pipe": (paused_log_pipe, 2),
    "renamed input": (renamed_input, 2),
    "foreign sender and kill -9": (foreign_sender, 1),
}
"""Each attack with its weight in the draw."""


def _killed(run: subprocess.Popen[bytes], after: float) -> bool:
    try:
        return _ended(run, after, {0, 1})
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        return False


def _halted(run: subprocess.Popen[bytes]) -> bool:
    return _ended(run, 60, {0, 1, 2, 3})


def _ended(run: subprocess.Popen[bytes], within: float, fine: set[int]) -> bool:
    """Whether it came to its end, with one of these statuses; TimeoutExpired if it still runs."""
    _, problems = run.communicate(timeout=within)
    assert run.returncode in fine, (run.returncode, problems.decode())
    return run.returncode in (0, 1)


def _drained(reader: int) -> Iterator[Any]:
    try:
        while data := os.read(reader, 1 << 16):
            yield data
    except BlockingIOError:
        return
