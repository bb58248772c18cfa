"""One replica of sender for shared_limit.py: its shared pacer, its transport, and nothing to do but to send.

python benchmarks/replica.py URL LIMIT REDIS_PORT SECONDS
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import orjson
from client import CONNECTIONS, WARM
from common import EMAIL, KEY

from sender.runtime.logs import set_up
from sender.runtime.loop import run
from sender.shared_state.state_url import open_state
from sender.transport import Request, Wire
from sender.transport.http_transport import HttpTransport

if TYPE_CHECKING:
    from sender.engine.pacing.permit import Permit

REQUEST = Request("POST", "/v1/send/email", orjson.dumps(EMAIL))


async def replica(url: str, limit: str, port: str, seconds: str) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + float(seconds)
    transport = HttpTransport(url, lambda: KEY, connections=CONNECTIONS)
    await transport.warm(WARM)
    state = await open_state(f"redis://127.0.0.1:{port}/0", host="benchmark")
    pacer = state.pacer("send", float(limit), demand=lambda: (0, 1000, 0))
    async with asyncio.TaskGroup() as tasks:
        while loop.time() < end:
            tasks.create_task(_send(transport, await pacer.acquire()))
    await transport.aclose()
    await state.close()


async def _send(transport: HttpTransport, permit: Permit) -> None:
    await transport.send(REQUEST, Wire(on_written=permit.written))


if __name__ == "__main__":
    set_up("console", "error")
    run(replica(*sys.argv[1:]))
