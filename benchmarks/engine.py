"""The whole engine against a bare aiohttp loop, on one core, in turns: python benchmarks/engine.py [JOBS] [ROUNDS]

The engine reads a job file, checks every line, starts with the pacer off, sends, and writes outcomes; the bare loop
posts bodies that were made before it began, over as many connections, and reads each answer. Both run on core 0, the
server that answers them at once on core 1. The paced part sends 100 a second for some seconds and tells CPU time.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from common import KEY, machine, write_emails

CONCURRENCY = 64
PACED_RATE = 100
PACED_S = 8
FLOOR = 0.3
"""Seconds of a run that start it up; the paced part tells the CPU time of what comes after."""


class Figure(NamedTuple):
    """One run."""

    seconds: float
    cpu_s: float


class Answering(asyncio.Protocol):
    """Answers every request at once, and looks at no more of it than where it ends."""

    count = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            place = head.find(b"content-length:")
            size = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(data) < end + 4 + size:
                break
            data = data[end + 4 + size :]
            Answering.count += 1
            body = b'{"delivery_id":"RPILAgUBcRhIBqSfeiIwdIYJKxTY%d","queued_at":1800000000}' % Answering.count
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        self._rest = data


def serve() -> None:
    """The server's process."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(3600)

    _run(work(), quick=True)


def _run(work: Coroutine[Any, Any, Any], *, quick: bool) -> None:
    if quick:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


@contextmanager
def server() -> Iterator[str]:
    """Its URL."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().decode().strip()}"
    finally:
        process.terminate()
        process.wait()


def bare(url: str, path: str, loop: str, rate: float) -> None:
    """A loop that posts and reads, and nothing else."""
    import aiohttp
    import orjson

    bodies = [orjson.dumps(json.loads(line)["payload"]) for line in Path(path).read_bytes().splitlines()]
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    target = f"{url}/v1/send/email"

    async def post(session: aiohttp.ClientSession, body: bytes) -> None:
        async with session.post(target, data=body, headers=headers) as answer:
            await answer.read()
            assert answer.status == 200

    async def worker(session: aiohttp.ClientSession, waiting: Iterator[bytes]) -> None:
        for body in waiting:
            await post(session, body)

    async def at_full_speed(session: aiohttp.ClientSession) -> None:
        waiting = iter(bodies)
        await asyncio.gather(*(worker(session, waiting) for _ in range(CONCURRENCY)))

    async def paced(session: aiohttp.ClientSession) -> None:
        clock = asyncio.get_running_loop().time
        begin = clock()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies):
                await asyncio.sleep(begin + number / rate - clock())
                group.create_task(post(session, body))

    async def work() -> None:
        connector = aiohttp.TCPConnector(limit=CONCURRENCY)
        async with aiohttp.ClientSession(connector=connector) as session:
            await post(session, bodies[0])
            begin, used = time.perf_counter(), time.process_time()
            await (paced(session) if rate else at_full_speed(session))
            _tell(begin, used)

    _run(work(), quick=loop == "uvloop")


def _tell(begin: float, used: float) -> None:
    print(json.dumps((time.perf_counter() - begin, time.process_time() - used)), file=sys.stderr)


def engine(loop: str, remembering: str, *arguments: str) -> None:
    """`sender send` in this process, measured from its first job to its last outcome."""
    import sender.loop
    import sender.run
    from sender.cli import main
    from sender.ledger.memory import MemoryLedger
    from sender.workspace import Workspace

    class Forgetful(MemoryLedger):
        """Takes note of nothing."""

        was_clean, last_hand_over = True, None

        @classmethod
        async def open(cls, *_: Any, **__: Any) -> Forgetful:
            return cls()

        async def bind_workspace(self, name: str) -> None: ...
        async def hand_over(self, claims: Any) -> Any:
            return {}

        async def settle(self, entries: Any) -> int:
            return 0

    begun: list[float] = []

    async def warmed(self: Workspace, warm: Callable[[Workspace], Awaitable[None]] = Workspace.warm) -> None:
        await warm(self)
        begun.extend((time.perf_counter(), time.process_time()))

    Workspace.warm = warmed  # type: ignore[method-assign]
    finish = sender.run.Run._finish

    def finished(self: Any) -> int:
        _tell(begun[0], begun[1])
        return finish(self)

    sender.run.Run._finish = finished  # type: ignore[method-assign]
    if remembering == "without":
        sender.run.SqliteLedger = Forgetful  # type: ignore[assignment, misc]
    if loop == "asyncio":
        sender.loop._loop_factory = lambda: None  # type: ignore[assignment]
    profile = os.environ.get("PROFILE")
    if profile:
        import cProfile

        cProfile.runctx("main(list(arguments))", {"main": main, "arguments": arguments}, {}, profile)
    else:
        main(list(arguments))


def measure(url: str, jobs: Path, what: str, loop: str, rate: float) -> Figure:
    """One run of one program on core 0."""
    if what == "bare":
        command = [sys.executable, __file__, "bare", url, str(jobs), loop, str(rate)]
    else:
        pace = str(rate) if rate else "max"
        command = [
            sys.executable, __file__, "engine", loop, what, "send", jobs.name, "--base-url", url, "--json",
            "--no-progress", "--rate", pace, "--concurrency", str(CONCURRENCY), "--no-preflight",
        ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / jobs.name).symlink_to(jobs)
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "SENDER_API_KEY": KEY}, capture_output=True, check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        )  # fmt: skip
    told = [line for line in done.stderr.decode().splitlines() if line.startswith("[")]
    if not told:
        raise RuntimeError(done.stderr.decode())
    return Figure(*json.loads(told[-1]))


def compare(url: str, jobs: Path, count: int, rounds: int, rate: float) -> dict[tuple[str, str], list[Figure]]:
    """All programs on both loops, in turns."""
    found: dict[tuple[str, str], list[Figure]] = {}
    for _ in range(rounds):
        for loop in ("asyncio", "uvloop"):
            for what in ("bare", "without", "full"):
                found.setdefault((loop, what), []).append(measure(url, jobs, what, loop, rate))
    return found


def main() -> None:
    count, rounds = [*map(int, sys.argv[1:]), *(20_000, 5)[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as folder, server() as url:
        jobs = Path(folder) / "jobs.jsonl"
        write_emails(jobs, count)
        fast = compare(url, jobs, count, rounds, 0)
        for key, figures in fast.items():
            base = fast[key[0], "bare"]
            rate = median(count / one.seconds for one in figures)
            share = median(b.seconds / one.seconds for one, b in zip(figures, base, strict=True))
            cpu = median(one.cpu_s / count * 1e6 for one in figures)
            print(f"| {key[0]} | {key[1]} | {rate:,.0f} | {share:.2f} | {cpu:.0f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["bare"]:
        bare(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]))
    elif sys.argv[1:2] == ["engine"]:
        engine(*sys.argv[2:])
    else:
        main()
