"""The Heartbeat of a replica: what makes it an owner that lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sender.shared_state.state_connection import Away

if TYPE_CHECKING:
    from sender.shared_state.state_connection import StateConnection
    from sender.shared_state.state_server import JobTable

BEAT: Final = 4.0
"""Seconds between two signs of life; an owner is dead after 22 s without one, so that others have its part in 30."""


class Heartbeat:
    """Says for an owner, by its number, that it lives."""

    def __init__(self, connection: StateConnection, jobs: JobTable) -> None:
        self._connection = connection
        self._jobs = jobs

    async def beat(self, owner: int, *, patient: bool = False) -> None:
        """Say it once; with patience until the server hears it, else Away when it does not."""
        await self._jobs.beat(owner, patient=patient)

    async def keep_beating(self, owner: int) -> None:
        """Say it every few seconds; raises StateLost when the server takes this replica for dead."""
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self.beat(owner)
                await self._connection.look_at_history()
            except Away:
                await asyncio.sleep(0)
