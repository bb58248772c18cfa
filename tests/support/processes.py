"""Real processes for tests: the sandbox and the command."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.fork_server import SENDER, popen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sandbox-key"


def environment(**more: str) -> dict[str, str]:
    """No settings but these, and no memory of what other tests have sent."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SENDER_", "XDG_STATE_HOME"))}
    return {**clean, "SENDER_API_KEY": KEY, "XDG_STATE_HOME": os.devnull, **more}


def sender(
    *arguments: str, cwd: Path, stdin: bytes | None = None, timeout: float = 50, **more: str
) -> subprocess.CompletedProcess[bytes]:
    process = start_sender(*arguments, cwd=cwd, **more)
    try:
        out, error = process.communicate(stdin or b"", timeout=timeout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def start_sender(*arguments: str, cwd: Path, **more: str) -> subprocess.Popen[bytes]:
    return popen(
        [*SENDER, *arguments], cwd=cwd, env=environment(**more), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class Sandbox:
    """A running sandbox and what it saw."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_sandbox/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, /, **document: Any) -> None:
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", json.dumps(document).encode(), method="POST")
        urllib.request.urlopen(request, timeout=5).close()

    def heal(self) -> None:
        urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/_sandbox/faults", method="DELETE"), timeout=5
        ).close()

    @property
    def lanes(self) -> Any:
        return self.get("stats")["lanes"]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.get("messages")  # type: ignore[no-any-return]

    def numbers(self) -> list[Any]:
        """message_data.n of every accepted message, in order."""
        return [message["payload"]["message_data"]["n"] for message in self.messages]


@contextmanager
def running_sandbox(*arguments: str) -> Iterator[Sandbox]:
    process = popen([*SENDER, "sandbox", "--port", "0", *arguments], stdout=subprocess.PIPE, env=environment())
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        yield Sandbox(line.removeprefix("sandbox listening on ").strip())
    finally:
        process.terminate()
        process.wait(5)
        process.stdout.close()  # type: ignore[union-attr]


def email(number: int, **more: Any) -> dict[str, Any]:
    payload = {
        "to": f"person{number}@example.com",
        "transactional_message_id": 3,
        "identifiers": {"id": f"person-{number}"},
        "message_data": {"n": number},
    }
    return {"id": f"job-{number}", "kind": "email", "payload": payload, **more}


def write_jobs(path: Path, jobs: Any) -> Path:
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


def outcomes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
