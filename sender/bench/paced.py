"""Requests through the engine's own pacer, guard and transport, each refused one once more, as a lane sends them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.bench.request_templates import generated, run_token
from sender.bench.scenarios import IDLE
from sender.engine.pacing.guard import Guard
from sender.engine.pacing.pacer import Pacer
from sender.errors import HaltError
from sender.jobs.kinds import KINDS
from sender.transport import Request, TransportFault, Wire
from sender.transport.http_transport import HttpTransport

if TYPE_CHECKING:
    from sender.bench.scenarios import Scenario
    from sender.config.api_key import ApiKey
    from sender.engine.pacing.permit import Permit

HANDS: Final = 512
TIMEOUT: Final = 20.0
STATS: Final = "/_sandbox/stats"


class Paced:
    """One run at a limit; needs a running loop from `run` on."""

    def __init__(self, base_url: str, api_key: ApiKey, rate: float, scenario: Scenario) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._rate = rate
        self._scenario = scenario
        self._template = generated(KINDS["email"], run_token())
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: list[int] = []
        self.guard = Guard.careful()
        self.pacer: Pacer
        self.stats: dict[str, Any] = {}
        self.errors = 0

    async def run(self, duration: float) -> None:
        """Send for `duration` seconds of work, then fetch what the server counted."""
        self.pacer = Pacer(self._rate, guard=self.guard)
        transport = HttpTransport(self._base_url, self._api_key, timeout=TIMEOUT, connections=HANDS)
        try:
            await self._reset(transport)
            await transport.warm(8)
            await self._send_all(transport, max(2, round(duration * self._rate)), duration)
            if self._tasks:
                await asyncio.wait(self._tasks)
            self.stats = await self._fetch(transport)
        finally:
            for task in self._tasks:
                task.cancel()
            await transport.aclose()

    async def _send_all(self, transport: HttpTransport, count: int, duration: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + 2 * duration + IDLE
        number = 0
        while (number < count or self._again) and loop.time() < end:
            if self._scenario.idle and number == count // 2:
                self.pacer.rest()
                await asyncio.sleep(IDLE)
            permit = await self.pacer.acquire()
            if self._again:
                chosen = self._again.pop()
            else:
                chosen, number = number, number + 1
            task = loop.create_task(self._one(transport, permit, chosen))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, transport: HttpTransport, permit: Permit, number: int) -> None:
        begun = asyncio.get_running_loop().time()
        try:
            reply = await transport.send(self._template.request(number), Wire(on_written=permit.written))
        except TransportFault:
            self.errors += 1
            return
        finally:
            permit.cancel()
        now = asyncio.get_running_loop().time()
        if reply.status == 429:
            self.guard.refused(now)
            self._again.append(number)
            return
        self.guard.accepted(now, now - begun)
        self.errors += not 200 <= reply.status < 300

    async def _reset(self, transport: HttpTransport) -> None:
        await self._call(transport, Request("POST", "/_sandbox/reset", b"{}"))

    async def _fetch(self, transport: HttpTransport) -> dict[str, Any]:
        lane: dict[str, Any] = orjson.loads(await self._call(transport, Request("GET", STATS)))["lanes"]["send"]
        return lane

    async def _call(self, transport: HttpTransport, request: Request) -> bytes:
        try:
            reply = await transport.send(request)
        except TransportFault as fault:
            raise HaltError(f"the server to prove the pacing against does not answer: {fault.message}") from None
        if reply.status != 200 or reply.content_type != "application/json":
            raise HaltError(f"--prove-pacing needs a sandbox, which counts arrivals; {request.path} is not one's")
        return reply.body
