"""The process in which one rival runs.

    python benchmarks/client.py full LOOP MODULE:FUNCTION URL
    python benchmarks/client.py paced LOOP MODULE:FUNCTION URL RATE COUNT
    python benchmarks/client.py shared LOOP MODULE:FUNCTION URL LIMIT REDIS_PORT SECONDS

LOOP is asyncio or uvloop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from rivals import load
from rivals.bare_aiohttp import poster

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING = 5
"""Exit status of a rival that is not installed."""
CONNECTIONS = 512
WARM = 8


async def full(what: str, url: str) -> None:
    await load(what)(url)


async def paced(what: str, url: str, rate: str, count: str) -> None:
    run = load(what)
    async with poster(url, CONNECTIONS, warm=WARM) as post:
        await run(post, int(rate), int(count))


async def shared(what: str, url: str, limit: str, port: str, seconds: str) -> None:
    """One replica: whatever turns it gets, for so many seconds."""
    end = asyncio.get_running_loop().time() + float(seconds)
    async with poster(url, CONNECTIONS, warm=WARM) as post, asyncio.TaskGroup() as tasks:
        acquire = await load(what)(int(port), int(limit))
        while asyncio.get_running_loop().time() < end:
            await acquire()
            tasks.create_task(post())


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


def main(role: str, loop: str, *arguments: str) -> int:
    role_of = {"full": full, "paced": paced, "shared": shared}[role]
    try:
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            runner.run(role_of(*arguments))  # type: ignore[operator]
    except ImportError as missing:
        print(f"not installed: {missing.name}", file=sys.stderr)
        return MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
