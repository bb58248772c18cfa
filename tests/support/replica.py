"""A replica in a process of its own: takes permits and tells the instants (CLOCK_MONOTONIC, one for all processes).

python -m tests.support.replica URL '{"rate": 100, "seconds": 5, ...}'; says `ready`, begins at
a line on stdin, and prints one JSON object at its end.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from sender.engine.pacing.pace import window_of
from sender.shared_state.state_url import open_state
from tests.support.fork_server import popen

if TYPE_CHECKING:
    from sender.engine.pacing.permit import Permit
    from tests.support.state_servers import StateServer


class SlewedLoop(asyncio.SelectorEventLoop):
    """Its clock runs faster than the server's by so many ppm."""

    slew = 0.0

    def time(self) -> float:
        return super().time() * (1 + self.slew * 1e-6)


async def replicate(
    url: str,
    *,
    rate: float = 100,
    seconds: float = 5,
    lane: Any = "send",
    rank: int = 1,
    jobs: int = 1_000_000,
    every: float = 0.0,
    slow: float = 0.0,
) -> dict[str, Any]:
    """Write `jobs` (all at once, or one in `every` seconds) for so long; `slow` is the part whose writes come late."""
    loop = asyncio.get_running_loop()
    state = await open_state(url, host="api")
    print("ready", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    begin = loop.time()
    left, waits, due = jobs, [], begin

    def demand() -> tuple[int, int, int]:
        number = min(left, 200) if not every else int(loop.time() >= due)
        return (number if rank == 0 else 0, number if rank == 1 else 0, number if rank == 2 else 0)

    pacer = state.pacer(lane, rate, demand=demand)
    stamps: list[float] = []
    chance = random.Random(7)
    late: list[asyncio.Task[None]] = []

    async def write(permit: Permit, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        stamps.append(loop.time())  # what was written is told afterwards
        permit.written()

    try:
        async with asyncio.timeout(seconds):
            while left:
                if every:
                    due = max(due, begin) + every
                    await asyncio.sleep(due - loop.time())
                asked = loop.time()
                permit = await pacer.acquire()
                if chance.random() < slow:
                    late.append(asyncio.create_task(write(permit, chance.uniform(0, 0.5))))
                else:
                    await write(permit, 0)
                waits.append(loop.time() - asked)
                left -= 1
    except TimeoutError:
        pass
    await asyncio.gather(*late)
    figures = {"stamps": stamps, "waits": waits, "given_up": pacer.given_up, "calls": state.round_trips}
    await state.close()
    return figures


def start_replicas(server: StateServer, *each: dict[str, Any]) -> list[subprocess.Popen[bytes]]:
    """Start them on lanes that are in use, and let them begin together."""
    for lane, rate in {(one.get("lane", "send"), one.get("rate", 100)) for one in each}:
        asyncio.run(declare(server, lane, rate))
    command = [sys.executable, "-m", "tests.support.replica", server.url]
    pipe = subprocess.PIPE
    processes = [popen([*command, json.dumps(one)], env=dict(os.environ), stdin=pipe, stdout=pipe) for one in each]
    for process in processes:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != b"ready\n":
            assert line, "the replica did not start"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    return processes


async def declare(server: StateServer, lane: Any, rate: float) -> None:
    """As if the lane had been in use: a new state makes every lane wait for a window."""
    state = await open_state(server.url, host="api")
    limit, window = window_of(rate)
    await state._server.lanes.ask(lane, "declare", rate, limit, int(window * 1e6))
    await state.close()
    server.open_lane(lane)


def results(processes: list[subprocess.Popen[bytes]], timeout: float = 40) -> list[dict[str, Any]]:
    return [json.loads(process.communicate(timeout=timeout)[0].splitlines()[-1]) for process in processes]


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    SlewedLoop.slew = options.pop("slew", 0.0)
    with asyncio.Runner(loop_factory=SlewedLoop) as runner:
        sys.stdout.write(json.dumps(runner.run(replicate(sys.argv[1], **options))))
