"""The WaitingTriggers are a note in the ledger, so that a restart knows them, and replicas share them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.ledger.ledger import Ledger

NOTE: Final = "triggers"


@dataclass(slots=True)
class WaitingTrigger:
    """A trigger that is not known to be processed."""

    key: str
    content: str
    broadcast: str
    trigger: int | None
    """None while it is in doubt whether there is one."""
    at: float
    """Unix seconds, by the API's clock, of its acceptance or of the doubtful attempt."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What a later outcome line repeats: id, source, line, attempts."""
    processed: bool = False
    """Whether only its errors are still to be read."""


class WaitingTriggers:
    """Changed in memory, and merged with the note by `save`."""

    def __init__(self, ledger: Ledger, saved: bytes | None) -> None:
        self._ledger = ledger
        self._by_key = _read(saved)
        self._noted = set(self._by_key)
        """Keys that stood in the note when it was last read: one that is gone by now was ended by another replica."""
        self._saving = asyncio.Lock()
        self._over: set[str] = set()
        """Keys that wait no more and still stand in the note."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[WaitingTrigger]:
        """The oldest first."""
        return iter(sorted(self._by_key.values(), key=lambda one: one.at))

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def put(self, one: WaitingTrigger) -> None:
        """It waits from now on, as this says."""
        self._by_key[one.key] = one

    def add(self, one: WaitingTrigger) -> None:
        """It waits, if it did not before."""
        self._by_key.setdefault(one.key, one)

    def bind(self, key: str, trigger: int) -> None:
        """A doubt was resolved: the trigger that may wait is this one."""
        if key in self._by_key:
            self._by_key[key].trigger = trigger

    def remove(self, key: str) -> None:
        """It waits no more."""
        if self._by_key.pop(key, None) is not None:
            self._over.add(key)

    async def save(self) -> set[str]:
        """Merge with the note; returns the keys that this took out of it."""
        async with self._saving:
            while True:
                raw = await self._ledger.get_note(NOTE)
                known, seen = _read(raw), set(self._by_key)
                over = self._over & known.keys()
                new = {key: one for key, one in self._by_key.items() if key not in self._noted}
                merged = {key: self._by_key.get(key, one) for key, one in known.items() if key not in over} | new
                text = orjson.dumps([asdict(one) for one in merged.values()])
                if text == (raw or b"[]") or await self._ledger.swap_note(NOTE, raw, text):
                    break
            self._over -= over
            self._noted = set(merged)
            meanwhile = {key: one for key, one in self._by_key.items() if key in merged or key not in seen}
            self._by_key = {key: one for key, one in merged.items() if key not in self._over} | meanwhile
            return over


def _read(saved: bytes | None) -> dict[str, WaitingTrigger]:
    return {one["key"]: WaitingTrigger(**one) for one in orjson.loads(saved or b"[]")}
