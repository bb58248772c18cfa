"""StoredRequeueCounts: how often messages were given back, kept with the ledger for a broker that does not count it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson

from sender.errors import HaltError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.consume.open_notes import OpenNotes
    from sender.ledger import Ledger

NOTE: Final = "give-backs"
MOST: Final = 10_000
"""Messages that are remembered; the oldest of more than that count as delivered once too often."""
WITHIN: Final = 3.0
"""Seconds for an answer of the memory: the read that asks would give up its messages."""


class StoredRequeueCounts:
    """See `sender.queues.RequeueCounts`."""

    def __init__(self, ledger: Ledger | OpenNotes) -> None:
        self._ledger = ledger

    async def add(self, ids: Sequence[str]) -> None:
        """Each of these was given back once more."""

        def count(known: dict[str, int]) -> None:
            for one in ids:
                known[one] = known.pop(one, 0) + 1
            for oldest in list(known)[: max(0, len(known) - MOST)]:
                del known[oldest]

        await self._change(count)

    async def find(self, ids: Sequence[str]) -> Mapping[str, int]:
        """How often each of these was given back; a memory that does not answer in time knows of none."""
        known: dict[str, int] = {}
        with suppress(HaltError, TimeoutError):
            async with asyncio.timeout(WITHIN):
                known = _counts(await self._ledger.get_note(NOTE))
        return {one: known[one] for one in ids if one in known}

    async def forget(self, ids: Sequence[str]) -> None:
        """These are done."""

        def drop(known: dict[str, int]) -> None:
            for one in ids:
                known.pop(one, None)

        if await self.find(ids):
            await self._change(drop)

    async def _change(self, change: Callable[[dict[str, int]], None]) -> None:
        """Until no other replica came between."""
        with suppress(HaltError):  # whoever holds the memory tells of it
            while True:
                before = await self._ledger.get_note(NOTE)
                counts = _counts(before)
                change(counts)
                if await self._ledger.swap_note(NOTE, before, orjson.dumps(counts)):
                    return


def _counts(note: bytes | None) -> dict[str, int]:
    return orjson.loads(note) if note else {}
