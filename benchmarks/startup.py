"""Time from the start of a process: to the end of `sender --help`, and to the first request at the server.

    python benchmarks/startup.py [ROUNDS] [--save]

The first request is seen by a relay before the sandbox, so that what is timed is what a server sees of `sender send`
with its defaults: the ledger opened, the preflight made, connections warm.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import results
import targets
from common import ENVIRONMENT, sandbox, write_emails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Relay:
    """Passes everything on, and notes when the first POST came."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self.first_post: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pump(reader, far_writer, watched=True), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if watched and self.first_post is None and data.startswith(b"POST "):
                    self.first_post = time.monotonic()
                writer.write(data)
        writer.close()


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay and its URL."""
    made = Relay(url)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def to_first_request(url: str, *options: str) -> float:
    """Seconds from the start of the process to its first POST at the server."""
    with tempfile.TemporaryDirectory() as folder:
        write_emails(Path(folder) / "jobs.jsonl", 3)
        async with relay(url) as (watch, address):
            command = ["-m", "sender", "send", "jobs.jsonl", "--base-url", address, "--no-progress", *options]
            begin = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=folder, env=ENVIRONMENT,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            await process.wait()
    assert watch.first_post is not None
    return watch.first_post - begin


def to_end(*arguments: str) -> float:
    """Seconds that a command takes."""
    begin = time.monotonic()
    subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def row(name: str, seconds: list[float]) -> tuple[str, ...]:
    """One line of the table."""
    found = median(seconds)
    judged = targets.judged("start", name, "seconds", found)
    return name, f"{found:.3f}", f"{min(seconds):.3f} to {max(seconds):.3f}", judged


def main() -> None:
    """Tell the table."""
    (rounds,) = results.numbers(9)
    found: dict[str, list[float]] = {}
    with sandbox() as url:
        asyncio.run(to_first_request(url))  # bytecode is written
        for _ in range(rounds):
            found.setdefault("python -c pass", []).append(to_end("-c", "pass"))
            found.setdefault("sender --help", []).append(to_end("-m", "sender", "--help"))
            found.setdefault("sender send --help", []).append(to_end("-m", "sender", "send", "--help"))
            found.setdefault("first request", []).append(asyncio.run(to_first_request(url)))
            quick = asyncio.run(to_first_request(url, "--no-preflight"))
            found.setdefault("first request, --no-preflight", []).append(quick)
    rows = [row(name, seconds) for name, seconds in found.items()]
    notes = (
        f"From the start of the process; medians of {rounds} processes, in turns. The first request is the first POST "
        "at the server, with the preflight before it and everything on; bytecode is there, as after an installation."
    )
    results.tell("start", "Start-up", notes, results.table(("what", "seconds", "range", "target"), rows))


if __name__ == "__main__":
    main()
