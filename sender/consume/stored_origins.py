"""StoredOrigins: which server each queue's name stands for, kept with the ledger, so that messages of two servers are
never taken for each other (docs/queues-and-state.md, "Messages and identity")."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.errors import HaltError
from sender.queues import QueueError

if TYPE_CHECKING:
    from sender.consume.open_notes import OpenNotes
    from sender.ledger import Ledger

NOTE: Final = "queue "
LIVES: Final = 60.0
"""Seconds after its last claim in which a server counts as being read."""
RENEW: Final = 15.0
"""Seconds for which a claim is not written again."""
WITHIN: Final = 2.0
"""Seconds for the memory to answer; one that does not is asked again with the next read."""

log = structlog.get_logger()


class StoredOrigins:
    """See `sender.queues.QueueOrigins`."""

    def __init__(self, ledger: Ledger | OpenNotes) -> None:
        self._ledger = ledger

    async def claim(self, name: str, origin: str, *, instead_of: str | None = None) -> None:
        """See `QueueOrigins.claim`."""
        with suppress(HaltError, TimeoutError):  # whoever holds the memory tells of it
            async with asyncio.timeout(WITHIN):
                while not await self._try(name, origin, instead_of):
                    pass

    async def _try(self, name: str, origin: str, instead_of: str | None) -> bool:
        """False when another replica came between."""
        before, now = await self._ledger.get_note(NOTE + name), time.time()
        known: dict[str, Any] = orjson.loads(before) if before else {"origin": origin, "seen": 0.0}
        age = now - known["seen"]
        if known["origin"] == origin and age < RENEW:
            return True
        if known["origin"] != origin:
            if age < LIVES and known["origin"] != instead_of:
                raise QueueError(
                    f"the queue {name} of another server is read with this memory, and messages of the two could be "
                    "taken for each other: give one of the URLs a name of its own (&name=…); where the server was made "
                    f"anew, this ends by itself in {LIVES:.0f} s"
                )
            log.warning("a queue of this name is on another server than before, or was made anew", queue=name)
        return await self._ledger.swap_note(
            NOTE + name, before, orjson.dumps({"origin": origin, "seen": now})
        )
