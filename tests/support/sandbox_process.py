"""The sandbox as a process of its own, as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.fork_server import popen

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sandbox-key"
ROOT = Path(__file__).parents[2]


class SandboxProcess:
    """A running sandbox and what it saw."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.process = process

    def admin(self, method: str, path: str, **document: Any) -> Any:
        body = json.dumps(document).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def stats(self) -> Any:
        return self.admin("GET", "stats?arrivals=1")

    def messages(self) -> Any:
        return self.admin("GET", "messages")

    def fault(self, fault: str, **params: Any) -> None:
        self.admin("POST", "faults", fault=fault, **params)


@contextmanager
def sandbox_process(*arguments: str, **environment: str) -> Iterator[SandboxProcess]:
    """Start one on a free port, wait for its URL line, end it by SIGTERM."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENDER_")}
    process = popen(
        [sys.executable, "-m", "sender", "sandbox", "--port", "0", *arguments],
        cwd=ROOT, env=clean | environment, stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode()
        yield SandboxProcess(line.removeprefix("sandbox listening on ").strip(), process)
    finally:
        process.terminate()
        process.wait(5)
        process.stdout.close()
