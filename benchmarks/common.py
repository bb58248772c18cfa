"""What the benchmarks share: a sandbox in a process of its own, job files, the command under watch."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sandbox-key"
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "SENDER_API_KEY": KEY, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": os.devnull,
}
"""Without a memory of what other benchmarks have sent; bytecode is kept, as that of an installed package is."""
EMAIL = {
    "to": "person1@example.com", "transactional_message_id": 3,
    "identifiers": {"id": "1"}, "message_data": {"order": "O-1", "total": "12.50"},
}
"""What every contender sends; those that read jobs send it with a person of its own in each."""


@contextmanager
def sandbox(*arguments: str) -> Iterator[str]:
    """A running sandbox's URL."""
    command = [sys.executable, "-m", "sender", "sandbox", "--port", "0", *arguments]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().removeprefix("sandbox listening on ").strip()
        finally:
            process.terminate()


def stats(url: str, query: str = "") -> dict[str, Any]:
    """What the sandbox saw."""
    with urllib.request.urlopen(f"{url}/_sandbox/stats{query}") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def arrivals(url: str) -> list[int]:
    """The kernel's stamps of all sends that arrived, in ns."""
    return [one["at_ns"] for one in stats(url, "?arrivals=1")["arrivals"] if one["lane"] == "send"]


def write_emails(path: Path, count: int) -> None:
    """A file of distinct receipts."""
    with path.open("w") as file:
        for number in range(count):
            payload = {**EMAIL, "to": f"person{number}@example.com", "identifiers": {"id": str(number)}}
            file.write(json.dumps({"id": f"r-{number}", "kind": "email", "payload": payload}) + "\n")


def send(
    path: Path, url: str, *arguments: str, program: tuple[str, str] = ("-m", "sender")
) -> tuple[dict[str, Any], int]:
    """(summary, peak resident bytes) of one `sender send`."""
    command = [
        sys.executable,
        *program,
        "send",
        path.name,
        "--base-url",
        url,
        "--json",
        "--no-progress",
        *arguments,
    ]
    process = subprocess.Popen(
        command, cwd=path.parent, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.1)
    assert process.stdout is not None
    return json.loads(process.stdout.read()), peak


def _resident(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS")), 0)


def machine() -> str:
    """One line about where this was measured."""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({_processor()}), {system}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
