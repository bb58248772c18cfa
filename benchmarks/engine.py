"""The whole engine against a bare aiohttp loop, on one core, in turns.

    python benchmarks/engine.py [JOBS] [ROUNDS] [--save]

The engine is `sender send`: it reads a job file, checks every line, sends with the pacer off, and writes outcomes, with
and without a ledger. The bare loop posts bodies that were made before it began, over as many connections, and reads
each answer. Both run on the first core, the server that answers at once on the last one. The paced part sends 100
requests a second with both and compares their CPU time; the bare loop's schedule is a sleep.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import results
import targets
from common import KEY, write_emails

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from sender.send.run_end import RunEnd
    from sender.send.send_run import SendRun
    from sender.session.session import Session

LOOPS = ("asyncio", "uvloop")
CONCURRENCY = 64
PACE = 100
PACED_S = 6
PROGRAMS = ("bare", "without", "full")
PACED_NOTES = """\
A paced process sleeps between two requests, so that its CPU time is mostly that of waking up, which depends on what
the machine does beside: from run to run these ratios differ by a quarter. What the engine adds is, for every three
jobs, a commit of hand-overs, with which ends go that wait for one, and a write of the outcome log: each wakes a thread,
and the thread the loop."""
NAMES = {
    "bare": "bare aiohttp loop",
    "nothing": "engine, no ledger, no outcome log",
    "without": "engine, outcome log, no ledger",
    "off": "engine, outcome log, ledger off",
    "normal": "engine, outcome log, ledger normal",
    "full": "engine, outcome log, ledger full (default)",
}


class Figure(NamedTuple):
    """One run, from its first job to its last outcome."""

    seconds: float
    cpu_s: float


class Answering(asyncio.Protocol):
    """Answers every request at once, and looks at no more of it than where it ends."""

    count = 0

    def connection_made(self, transport: Any) -> None:
        """A client came."""
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """It sent something."""
        data = self._rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            place = head.find(b"content-length:")
            size = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(data) < end + 4 + size:
                break
            data = data[end + 4 + size :]
            self._answer()
        self._rest = data

    def _answer(self) -> None:
        Answering.count += 1
        body = b'{"delivery_id":"RPILAgUBcRhIBqSfeiIwdIYJKxTY%d","queued_at":1800000000}' % Answering.count
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


def serve() -> None:
    """The server's process."""

    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(3600)

    stay_on(max)
    run_on("uvloop", work())


def stay_on(core: Callable[[set[int]], int]) -> None:
    """Have this process run on one core."""
    os.sched_setaffinity(0, {core(os.sched_getaffinity(0))})


def run_on(loop: str, work: Coroutine[Any, Any, Any]) -> None:
    """Run it on this kind of loop."""
    if loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


@contextmanager
def server() -> Iterator[str]:
    """A running server's URL."""
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().decode().strip()}"
        finally:
            process.terminate()


def tell(begin: tuple[float, float]) -> None:
    """What has gone since then."""
    print(json.dumps((time.perf_counter() - begin[0], time.process_time() - begin[1])), file=sys.stderr)


def bare(url: str, path: str, loop: str, rate: str) -> None:
    """A loop that posts and reads, and does nothing else."""
    import aiohttp
    import orjson

    stay_on(min)
    bodies = [orjson.dumps(json.loads(line)["payload"]) for line in Path(path).read_bytes().splitlines()]
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    async def post(session: aiohttp.ClientSession, body: bytes) -> None:
        async with session.post(f"{url}/v1/send/email", data=body, headers=headers) as answer:
            await answer.read()
            assert answer.status == 200

    async def hand(session: aiohttp.ClientSession, waiting: Iterator[bytes]) -> None:
        for body in waiting:
            await post(session, body)

    async def full_speed(session: aiohttp.ClientSession) -> None:
        waiting = iter(bodies)
        await asyncio.gather(*(hand(session, waiting) for _ in range(CONCURRENCY)))

    async def paced(session: aiohttp.ClientSession) -> None:
        clock = asyncio.get_running_loop().time
        begin = clock()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies):
                await asyncio.sleep(begin + number / PACE - clock())
                group.create_task(post(session, body))

    async def work() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:
            await asyncio.gather(*(post(session, bodies[0]) for _ in range(min(20, CONCURRENCY))))
            begin = time.perf_counter(), time.process_time()
            await (paced(session) if rate == str(PACE) else full_speed(session))
            tell(begin)

    run_on(loop, work())


def engine(loop: str, remembering: str, *arguments: str) -> None:
    """`sender send` in this process, timed from warm connections to the last outcome on record."""
    import sender.runtime.loop
    from sender.cli.main import main as command
    from sender.engine.workspace import Workspace
    from sender.send.send_run import SendRun

    stay_on(min)
    begun: list[tuple[float, float]] = []
    warm, finish = Workspace.warm, SendRun._finish  # noqa: SLF001

    async def warm_first(workspace: Workspace, warm: Callable[[Workspace], Awaitable[None]] = warm) -> None:
        await warm(workspace)
        begun.append((time.perf_counter(), time.process_time()))

    def tell_last(run: SendRun, session: Session) -> RunEnd:
        tell(begun[0])
        return finish(run, session)

    Workspace.warm, SendRun._finish = warm_first, tell_last  # type: ignore[method-assign]  # noqa: SLF001
    if remembering in ("nothing", "without"):
        forget(also_outcomes=remembering == "nothing")
    if loop == "asyncio":
        sender.runtime.loop._loop_factory = lambda: None  # noqa: SLF001
    command(list(arguments))


def forget(*, also_outcomes: bool) -> None:
    """Have no ledger, and no outcome log either."""
    import sender.session.stores
    from sender.outcomes.outcome_log import OutcomeLog
    from tests.support.memory_ledger import MemoryLedger

    class Forgetful(MemoryLedger):
        """Knows nothing, and takes note of nothing."""

        was_clean, last_hand_over = True, None

        @classmethod
        async def open(cls, *_: Any, **__: Any) -> Forgetful:
            return cls()

        async def bind_workspace(self, name: str) -> None: ...

        async def hand_over(self, *_: Any) -> Any:
            return {}

        async def finish(self, *_: Any) -> int:
            return 0

    async def append(*_: Any) -> None: ...

    sender.session.stores.SqliteLedger = Forgetful  # type: ignore[assignment, misc]
    if also_outcomes:
        OutcomeLog.append = append  # type: ignore[method-assign, assignment]


def measure(url: str, jobs: Path, program: str, loop: str, pace: str = "max") -> Figure:
    """One run of one program on the first core."""
    if program == "bare":
        command = ["bare", url, str(jobs), loop, pace]
    else:
        durability = program if program in ("off", "normal") else "full"
        command = [
            "engine", loop, program, "send", jobs.name, "--base-url", url, "--json", "--no-progress", "--no-preflight",
            "--rate", pace, "--concurrency", str(CONCURRENCY), "--durability", durability,
        ]
    with tempfile.TemporaryDirectory(dir=jobs.parent) as folder:
        (Path(folder) / jobs.name).symlink_to(jobs)
        done = subprocess.run(
            [sys.executable, __file__, *command], cwd=folder,
            env={**os.environ, "SENDER_API_KEY": KEY, "XDG_STATE_HOME": os.devnull},
            capture_output=True, check=False,
        )
    told = [line for line in done.stderr.decode().splitlines() if line.startswith("[")]
    if not told:
        raise RuntimeError(done.stderr.decode())
    return Figure(*json.loads(told[-1]))


Runs = dict[tuple[str, str], list[Figure]]


def compare(
    programs: tuple[str, ...], count: int, rounds: int, pace: str = "max", loops: tuple[str, ...] = LOOPS
) -> Runs:
    """All of them in turns, on each kind of loop."""
    found: Runs = {}
    with tempfile.TemporaryDirectory() as folder, server() as url:
        jobs = Path(folder) / "jobs.jsonl"
        write_emails(jobs, count)
        for _ in range(rounds):
            for loop in loops:
                for program in programs:
                    found.setdefault((loop, program), []).append(measure(url, jobs, program, loop, pace))
    return found


def ratio(one: list[Figure], other: list[Figure], what: str) -> float:
    """Median over the rounds of what the first took, as a part of the second's in the same round."""
    return median(getattr(a, what) / getattr(b, what) for a, b in zip(one, other, strict=True))


def fast(count: int, rounds: int) -> tuple[str, str]:
    """The part at full speed: its heading and its table."""
    found = compare(PROGRAMS, count, rounds)
    rows = []
    for (loop, program), runs in found.items():
        rate, cpu = median(count / one.seconds for one in runs), median(one.cpu_s for one in runs) / count * 1e6
        reached, cheap = (ratio(found[loop, "bare"], runs, what) for what in ("seconds", "cpu_s"))
        judged = targets.judged("engine > Full speed", f"{loop} / {NAMES[program]}", "of its rate", reached)
        rows.append((loop, NAMES[program], f"{rate:,.0f}", f"{cpu:.0f}", f"{cheap:.2f}", f"{reached:.2f}", judged))
    head = ("loop", "program", "requests/s", "CPU, us each", "bare loop's CPU to it", "of its rate", "target")
    return "### Full speed", results.table(head, rows)


def paced(rounds: int) -> tuple[str, str, str]:
    """The part at 100 a second: its heading, what to make of it, and its table."""
    count = PACE * PACED_S
    found = compare(PROGRAMS, count, rounds, str(PACE))
    rows = []
    for (loop, program), runs in found.items():
        taken = ratio(runs, found[loop, "bare"], "cpu_s")
        judged = targets.judged("engine > Paced", f"{loop} / {NAMES[program]}", "to the bare loop's", taken)
        cpu = median(one.cpu_s for one in runs) / count * 1e6
        rows.append((loop, NAMES[program], f"{cpu:.0f}", f"{taken:.2f}", judged))
    head = ("loop", "program", "CPU, us each", "to the bare loop's", "target")
    return "### Paced", PACED_NOTES, results.table(head, rows)


def main() -> None:
    """Tell both parts."""
    count, rounds = results.numbers(20_000, 5)
    notes = (
        f"All on one core, the server on the other; medians of {rounds} rounds in turns, ratios within a round. The "
        "engine reads the job file, checks every line, sends, and writes outcomes; the bare loop posts prepared bodies."
        f" Full speed: {count:,} emails over {CONCURRENCY} connections. Paced: {PACE} requests a second for "
        f"{PACED_S} s."
    )
    results.tell("engine", "The engine beside the bare loop", notes, *fast(count, rounds), *paced(rounds))


ROLES = {"serve": serve, "bare": bare, "engine": engine}

if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:]) if sys.argv[1:] and sys.argv[1] in ROLES else main()
