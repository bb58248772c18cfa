"""A lane on virtual time, against an API that does anything at any time, and what came of it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sender.engine.backoff import Backoff
from sender.engine.job_queue import JobQueue
from sender.engine.lane import Lane
from sender.engine.lane_context import LaneContext, Policy
from sender.engine.pacing.guard import Guard
from sender.engine.pacing.pacer import Pacer
from sender.jobs.job import Job
from sender.jobs.kinds import KINDS
from sender.transport import WITHHELD, Reply, Request, TransportFault, Wire
from tests.support.memory_ledger import MemoryLedger
from tests.support.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sender.errors import HaltError
    from sender.outcomes.recorder import FinishedJob
    from sender.transport import OnEnd, UnderWay
    from tests.support.virtual_time import VirtualLoop

OK = Reply(200, "application/json", b'{"delivery_id":"d","queued_at":1}')


def body_of(name: object) -> bytes:
    """A request that names its job; the ledgers here know the job by it too."""
    return b'{"identifiers":{"id":"%s"}}' % str(name).encode()


class Sending:
    """A request that a task sends."""

    def __init__(self, work: Coroutine[Any, Any, Reply], on_end: OnEnd) -> None:
        self._on_end = on_end
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(self._ended)

    def give_up(self) -> None:
        self._task.cancel()

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        if not task.cancelled():
            self._on_end(task.exception() or task.result())


@dataclass
class World:
    """A scripted API and what came of it."""

    script: Any
    """(number of the request, seconds since the start) -> (service time, answer or fault)"""
    answers: Callable[[float], bool] = lambda now: True
    written: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    ended: list[FinishedJob] = field(default_factory=list)
    halts: list[HaltError] = field(default_factory=list)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    key_version: int = 1
    has_room: bool = True
    left: int = 0
    lane: Lane | None = None
    probes: list[float] = field(default_factory=list)
    connecting: float = 0.0

    def start(self, request: Request, wire: Wire, on_end: OnEnd) -> UnderWay:
        return Sending(self.send(request, wire), on_end)

    async def send(self, request: Request, wire: Wire | None = None) -> Reply:
        loop = asyncio.get_running_loop()
        number = len(self.bodies)
        key = (request.body or b"").decode()
        assert wire is not None
        if wire.may_write is not None:  # it would have to connect first
            await asyncio.sleep(self.connecting)
            if not wire.may_write():
                raise TransportFault(WITHHELD, "unwritten", "m")
        assert (await self.ledger.find([key]))[key].state == "handed_over", "not a byte before the ledger knows"
        self.bodies.append(request.body or b"")
        service, answer = self.script(number, loop.time() - 1000)
        if isinstance(answer, TransportFault) and answer.reach == "unwritten":
            await asyncio.sleep(service)
            raise answer
        wire.written_at = loop.time()
        if wire.on_written:
            wire.on_written()
        self.written.append(loop.time())
        await asyncio.sleep(service)
        if isinstance(answer, TransportFault):
            raise answer
        return Reply(answer.status, answer.content_type, answer.body, answer.retry_after, wire.written_at, loop.time())

    def commit_begins(self) -> bool:
        return False

    def record(self, ended: FinishedJob) -> None:
        self.ended.append(ended)
        if ended.entry is not None:
            asyncio.get_running_loop().create_task(self.ledger.finish([ended.entry]))

    async def probe(self) -> str | None:
        now = asyncio.get_running_loop().time() - 1000
        self.probes.append(now)
        return None if self.answers(now) else "a GET was answered 502"

    def job_ended(self, execution: Any, outcome: Any, *, resendable: bool) -> None: ...

    def job_refused(self, execution: Any, record: Any) -> None: ...

    def job_left(self, execution: Any) -> None:
        self.left += 1

    def halt(self, error: HaltError) -> None:
        self.halts.append(error)
        if self.lane is not None:
            self.lane.stop()

    def reload_key(self) -> bool:
        return False

    def statuses(self) -> Counter[str]:
        return Counter(ended.outcome.status for ended in self.ended)


def make_lane(world: World, rate: float = 100, wall: Callable[[], float] | None = None, **policy: Any) -> Lane:
    guard = Guard()
    context = LaneContext(
        world, world.ledger, Policy(backoff=Backoff(random=random.Random(5)), **policy), world,
        wall=wall or (lambda: 1_800_000_000 + asyncio.get_running_loop().time()),
    )
    world.lane = Lane("send", context, Pacer(rate, guard=guard), JobQueue(10**6, 10**9), guard=guard)
    return world.lane


async def work_off(lane: Lane) -> None:
    """Run the lane until nothing waits, and stop it."""
    running = asyncio.create_task(lane.run())
    await lane.drained()
    lane.stop()
    await running


def give(lane: Lane, count: int, **more: Any) -> None:
    for number in range(count):
        key = body_of(number).decode()
        lane.accept(Job(str(number), key, "c", KINDS["email"], "/v1/send/email", key.encode(), "f", number, **more))


def run(world: World, count: int, *, rate: float = 100, before: Any = None, **policy: Any) -> int:
    async def body(loop: VirtualLoop) -> None:
        lane = make_lane(world, rate, **policy)
        give(lane, count)
        if before is not None:
            before(loop, lane)
        await work_off(lane)
        await asyncio.sleep(0)

    run_virtual(body)
    return world.left
