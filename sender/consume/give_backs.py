"""Give-backs in the notes of the run's memory, for brokers that count every delivery (see `sender.queues.GiveBacks`).

A replica that drains gives messages back to those that follow it: only what they all know keeps the count right.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sender.errors import HaltError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.ledger import Ledger

NOTE: Final = "given back "


class NotedGiveBacks:
    """One note for each message that was given back and is not done. A memory that was lost counts from 0 again."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, int] = {}

    async def add(self, ids: Sequence[str]) -> None:
        """Each of these was given back once more."""
        known = await self.find(ids)
        with suppress(HaltError):  # whoever holds the memory tells of it
            for one in ids:
                await self._ledger.put_note(NOTE + one, str(known.get(one, 0) + 1).encode())
        self._forget(ids)

    async def find(self, ids: Sequence[str]) -> Mapping[str, int]:
        """How often each of these was given back."""
        found: dict[str, int] = {}
        with suppress(HaltError):
            for one in ids:
                if note := await self._ledger.get_note(NOTE + one):
                    found[one] = int(note)
        self._known |= found
        return found

    async def forget(self, ids: Sequence[str]) -> None:
        """These are done; of those that were never given back there is nothing to forget, and nothing is asked."""
        with suppress(HaltError):
            for one in ids:
                if one in self._known:
                    await self._ledger.swap_note(NOTE + one, str(self._known[one]).encode(), None)
        self._forget(ids)

    def _forget(self, ids: Iterable[str]) -> None:
        for one in ids:
            self._known.pop(one, None)
