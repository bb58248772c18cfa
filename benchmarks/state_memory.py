"""Memory that finished jobs take in the shared state: python benchmarks/state_memory.py [JOBS]"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time

from common import machine
from redis_server import redis_server

from sender.jobs.identity import key_of_id
from sender.ledger import FinalRecord, HandOverRecord
from sender.runtime.logs import set_up
from sender.shared_state.state_url import open_state

BATCH = 1000


async def measure(port: int, jobs: int) -> None:
    state = await open_state(f"redis://127.0.0.1:{port}/0", host="benchmark")
    ledger, before, begin = state.ledger, await used(port), time.perf_counter()
    line = b'{"id":"receipt-000123","status":"sent"}'.ljust(350) + b"\n"
    for start in range(0, jobs, BATCH):
        keys = [key_of_id(None, f"receipt-{number}") for number in range(start, start + BATCH)]
        await ledger.hand_over([HandOverRecord(key, key, b"{}".ljust(200)) for key in keys])
        entries = [FinalRecord(key, key, "sent", line, secrets.token_urlsafe(20)) for key in keys]
        await ledger.logged(await ledger.finish(entries))
    seconds = time.perf_counter() - begin
    await ledger.last_seq()
    each = (await used(port) - before) / jobs
    print(f"{jobs:,} finished jobs: {each:.0f} bytes each, {each * 1e6 / 2**20:,.0f} MiB for a million")
    print(f"{jobs / seconds:,.0f} jobs a second handed over and settled, in batches of {BATCH}; {machine()}")
    await state.close()


async def used(port: int) -> int:
    from redis.asyncio import Redis

    async with Redis(port=port) as client:
        return int((await client.info("memory"))["used_memory"])


if __name__ == "__main__":
    set_up("console", "error")
    with redis_server() as server_port:
        asyncio.run(measure(server_port, int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
