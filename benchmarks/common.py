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


@contextmanager
def sandbox(*arguments: str) -> Iterator[str]:
    """A running sandbox's URL."""
    command = [sys.executable, "-m", "sender", "sandbox", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().removeprefix("sandbox listening on ").strip()
    finally:
        process.terminate()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    """What the sandbox saw."""
    with urllib.request.urlopen(f"{url}/_sandbox/stats") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def write_emails(path: Path, count: int) -> None:
    """A file of distinct receipts."""
    with path.open("w") as file:
        for number in range(count):
            payload = {
                "to": f"person{number}@example.com", "transactional_message_id": 3,
                "identifiers": {"id": str(number)}, "message_data": {"order": f"O-{number}", "total": "12.50"},
            }  # fmt: skip
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
    environment = {**os.environ, "SENDER_API_KEY": KEY}
    process = subprocess.Popen(
        command, cwd=path.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
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
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
