"""One limit for many replicas through one Redis: python benchmarks/shared_limit.py [SECONDS] [REPLICAS,…]

Each replica is a process that writes as fast as its turns allow; the instants of all are merged (one clock for the
machine) and counted in every sliding second. Peers run the same way, if they are installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from common import machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

LIMIT = 100
WARM = 3.0
"""Seconds from the start that do not count: a new state waits for a window, and processes have to start."""


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    replicas = [int(part) for part in sys.argv[2].split(",")] if len(sys.argv) > 2 else [1, 2, 4, 8]
    print(f"{LIMIT}/s for all replicas together, {seconds:g} s; {machine()}\n")
    print(
        "| pacer | replicas | rate | of the limit | most in any second | round trips per request | requests of each |"
    )
    print("|---|---:|---:|---:|---:|---:|---|")
    for number in replicas:
        print(row("sender", number, seconds), flush=True)
    for name in PEERS:
        module = MODULES[name]
        if importlib.util.find_spec(module) is None:
            print(f"| {name} | | not installed: pip install {name} | | | | |")
        else:
            print(row(name, 4, seconds), flush=True)


def row(name: str, number: int, seconds: float) -> str:
    with redis_server() as port:
        start = time.monotonic() + WARM
        command = [sys.executable, __file__, "--replica", name, str(port), str(start), str(seconds)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(number)]
        found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    stamps = sorted(stamp for one in found for stamp in one["stamps"])
    rate = (len(stamps) - 1) / (stamps[-1] - stamps[0])
    trips = sum(one["trips"] for one in found) / len(stamps)
    each = ", ".join(str(len(one["stamps"])) for one in found)
    return (
        f"| {name} | {number} | {rate:.2f}/s | {rate / LIMIT:.2%} | {most_in_second(stamps)} | {trips:.3f} | {each} |"
    )


def most_in_second(stamps: list[float]) -> int:
    most = first = 0
    for last, stamp in enumerate(stamps):
        while stamps[first] <= stamp - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@contextmanager
def redis_server() -> Iterator[int]:
    """A server's port."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        process = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


async def replica(name: str, port: int, start: float, seconds: float) -> None:
    """One process's part: stamps from `start` on, as CLOCK_MONOTONIC."""
    loop = asyncio.get_running_loop()
    acquire, trips, close = await (sender_pacer(port) if name == "sender" else PEERS[name](port))
    stamps: list[float] = []
    before = 0
    while (now := loop.time()) < start + seconds:
        await acquire()
        if start <= loop.time() < start + seconds:
            before = before or trips()
            stamps.append(loop.time())
        elif now < start:
            before = 0
    print(json.dumps({"stamps": stamps, "trips": trips() - before}))
    await close()


async def sender_pacer(port: int) -> Any:
    from sender.logs import set_up
    from sender.state.urls import open_state

    set_up("console", "error")
    state = await open_state(f"redis://127.0.0.1:{port}/0", host="benchmark")
    pacer = state.pacer("send", LIMIT, demand=lambda: (0, 1000, 0))

    async def acquire() -> None:
        turn = await pacer.turn()
        turn.written()

    return acquire, lambda: state.round_trips, state.close


async def pyrate(port: int) -> Any:
    from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
    from redis.asyncio import Redis

    client = Redis(port=port)
    bucket = await RedisBucket.init([Rate(LIMIT, Duration.SECOND)], client, "limit")
    limiter = Limiter(bucket)
    return lambda: limiter.try_acquire_async("send"), lambda: 0, client.aclose


async def limits_moving_window(port: int) -> Any:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import MovingWindowRateLimiter

    limiter = MovingWindowRateLimiter(RedisStorage(f"async+redis://127.0.0.1:{port}/0"))
    item, asked = RateLimitItemPerSecond(LIMIT), [0]

    async def acquire() -> None:
        while True:
            asked[0] += 1
            if await limiter.hit(item, "send"):
                return
            await asyncio.sleep(0.01)

    return acquire, lambda: asked[0], nothing


async def throttled(port: int) -> Any:
    from throttled.asyncio import RateLimiterType, Throttled, rate_limiter, store

    limiter = Throttled(
        key="send", using=RateLimiterType.GCRA.value, quota=rate_limiter.per_sec(LIMIT, burst=LIMIT),
        store=store.RedisStore(server=f"redis://127.0.0.1:{port}/0"), timeout=10,
    )  # fmt: skip
    return limiter.limit, lambda: 0, nothing


async def nothing() -> None:
    """There is nothing to close."""


PEERS: dict[str, Callable[[int], Awaitable[Any]]] = {
    "pyrate-limiter": pyrate,
    "limits": limits_moving_window,
    "throttled-py": throttled,
}
MODULES = {"pyrate-limiter": "pyrate_limiter", "limits": "limits", "throttled-py": "throttled"}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--replica"]:
        asyncio.run(replica(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
    else:
        main()
