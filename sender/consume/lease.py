"""The Lease: the right to reconcile, which one replica has at a time."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sender.ledger import Ledger

NOTE: Final = "reconciler"
SECONDS: Final = 25.0
"""For which it is given; what a dead replica held is taken over within 30 s.

See docs/queues-and-state.md, "What happens to a message".
"""
RENEW_EVERY: Final = 8.0


class Lease:
    """One replica's view of it; `renew` runs beside."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held = False

    @asynccontextmanager
    async def acquired(self) -> AsyncIterator[bool]:
        """Whether this replica has it; if so, `renew` keeps it for as long as the context lasts."""
        self._held = await self._take()
        try:
            yield self._held
        finally:
            self._held = False

    async def renew(self) -> None:
        """Renew it while it is held, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if self._held:
                await self._take()

    async def _take(self) -> bool:
        """Renew it, or take it when it has run out."""
        known = await self._ledger.get_note(NOTE)
        owner, _, until = (known or b"").decode().partition(" ")
        mine = str(self._ledger.run)
        if owner not in ("", mine) and time.time() < float(until or 0):
            return False
        return await self._ledger.swap_note(NOTE, known, f"{mine} {time.time() + SECONDS}".encode())
