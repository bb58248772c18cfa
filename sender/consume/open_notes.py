"""The OpenNotes are the notes of whatever memory a workspace has open, for parts that outlive each opening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.errors import HaltError

if TYPE_CHECKING:
    from sender.consume.workspace_opening import WorkspaceOpening
    from sender.ledger import Ledger


class OpenNotes:
    """See `Ledger.get_note` and its like; HaltError while no memory is open."""

    def __init__(self, opening: WorkspaceOpening) -> None:
        self._opening = opening

    async def get_note(self, name: str) -> bytes | None:
        """A small named value, or None."""
        return await self._ledger.get_note(name)

    async def put_note(self, name: str, value: bytes) -> None:
        """Durably keep a small named value."""
        await self._ledger.put_note(name, value)

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        """Replace a note if it still has the expected value; whether it was replaced."""
        return await self._ledger.swap_note(name, expected, new)

    @property
    def _ledger(self) -> Ledger:
        if self._opening.memory is None:
            raise HaltError("no memory is open")
        return self._opening.memory.ledger
