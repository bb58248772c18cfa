"""Whatever part of a workspace ends before its time, with whatever error, halts it; its messages go back."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sender.config.api_key import ApiKey
from sender.config.settings import Settings
from sender.consume.acknowledger import Acknowledger
from sender.consume.in_flight import InFlight
from sender.consume.memory import Memory
from sender.consume.pause_switch import PauseSwitch
from sender.consume.workspace_consumer import InHand, WorkspaceConsumer
from sender.engine.workspace import Workspace
from sender.runtime.supervisor import Supervisor
from sender.runtime.tasks import end
from sender.runtime.tracing import NullTracer
from tests.consume.parts import FakeQueue, job, unacked, until
from tests.support.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class NoLog:
    async def append(self, lines: Sequence[bytes]) -> None: ...


@asynccontextmanager
async def opened() -> AsyncIterator[WorkspaceConsumer]:
    """A workspace whose API nobody answers for."""
    settings = Settings(preflight=False, reconcile=False)
    supervisor = Supervisor()
    async with AsyncExitStack() as stack:
        workspace = Workspace("http://127.0.0.1:9", ApiKey("key"), settings, time.time)
        stack.push_async_callback(workspace.transport.aclose)
        memory: Any = Memory(MemoryLedger())  # type: ignore[arg-type]
        await stack.enter_async_context(supervisor)
        in_flight = InFlight()
        acknowledger = Acknowledger(in_flight, None, supervisor)
        supervisor.start(acknowledger.run(), "acknowledgements")
        in_hand = InHand(in_flight, acknowledger, PauseSwitch("default"))
        consumer = WorkspaceConsumer(workspace, memory, in_hand, NoLog(), NullTracer(), supervisor)
        await consumer.open("http://127.0.0.1:9")
        yield consumer


PARTS = {
    "pause": "_pause.carry_out",
    "pauses": "_pause.follow",
    "kinds": "_try_kinds",
    "lease": "_lease.renew",
    "reconciliation": "_reconcile_loop.run",
    "requeues": "_shed",
    "notes": "session.doubts.keep_notes",
    "triggers": "session.workspace.triggers.follow",
    "lane": "session.workspace.lanes.send._start",
}


async def breaks(*_: object) -> None:
    raise ValueError("somebody@example.com")


async def breaks_in_a_group(*_: object) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(breaks())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fault", [breaks, breaks_in_a_group])
async def test_a_part_that_breaks_halts_the_workspace(part: str, fault: Any) -> None:
    async with opened() as consumer:
        *way, last = PARTS[part].split(".")
        owner: Any = consumer
        for name in way:
            owner = owner[name] if isinstance(owner, dict) else getattr(owner, name)
        setattr(owner, last, fault)
        queue: Any = FakeQueue()
        assert await consumer.take_on([(job(1), unacked(queue, 1))]) == []
        running = asyncio.create_task(consumer.run())
        async with asyncio.timeout(1):
            await consumer.ending.wait()
        assert "a fault of sender itself, ValueError" in str(consumer.session.halted)
        assert "somebody" not in str(consumer.session.halted)
        assert not consumer.works
        assert consumer.places("send", "normal") == (0, 0)
        async with asyncio.timeout(5):
            await asyncio.wait([running])
        assert consumer.leave() == [], "nothing was sent"
        await until(lambda: queue.back == ["m1"])


async def test_a_part_that_ends_by_itself_halts_the_workspace() -> None:
    async def ends() -> None: ...

    async with opened() as consumer:
        consumer._lease.renew = ends  # type: ignore[method-assign]
        running = asyncio.create_task(consumer.run())
        async with asyncio.timeout(1):
            await consumer.ending.wait()
        assert "ended before its time" in str(consumer.session.halted)
        await end([running])


async def test_a_swallowed_cancellation_does_not_hold_up_the_end() -> None:
    """A drain waited for its whole grace on a task whose cancellation the Redis client had swallowed."""
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end([task])
    assert swallowed == 3
