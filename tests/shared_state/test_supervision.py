"""What works for a shared state in the background cannot end unnoticed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from sender.shared_state.heartbeat import Heartbeat
from sender.shared_state.slot_reservation import SlotReservation
from sender.shared_state.state_url import open_state

if TYPE_CHECKING:
    from tests.support.state_servers import StateServer


async def test_a_heartbeat_that_breaks_is_told(state_server: StateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Heartbeat, owner: int) -> None:
        raise ValueError(owner)

    monkeypatch.setattr(Heartbeat, "keep_beating", broken)
    told: asyncio.Queue[BaseException] = asyncio.Queue()
    async with AsyncExitStack() as stack:
        state = await open_state(state_server.url, host="api", on_lost=told.put_nowait)
        stack.push_async_callback(state.close)
        async with asyncio.timeout(1):
            assert isinstance(await told.get(), ValueError)


async def test_a_reservation_that_breaks_is_told_to_who_waits(
    state_server: StateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: SlotReservation) -> None:
        await asyncio.sleep(0.1)
        raise ValueError("broken")

    monkeypatch.setattr(SlotReservation, "_keep_reserved", broken)
    async with AsyncExitStack() as stack:
        state = await open_state(state_server.url, host="api")
        stack.push_async_callback(state.close)
        pacer = state.pacer("send", 100)
        async with asyncio.timeout(2):
            with pytest.raises(ValueError, match="broken"):
                await pacer.acquire()
