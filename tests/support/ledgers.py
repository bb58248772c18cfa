"""Records for the tests of ledgers."""

from __future__ import annotations

from typing import Any

from sender.ledger import FinalRecord, HandOverRecord


def handed(key: str, content: str = "c") -> HandOverRecord:
    return HandOverRecord(key, content, b'{"id":"%s"}' % key.encode())


def final(key: str, state: Any = "sent", content: str = "c", **more: Any) -> FinalRecord:
    return FinalRecord(key, content, state, b'{"id":"%s"}\n' % key.encode(), **more)


async def state_of(ledger: Any, key: str) -> str | None:
    found = await ledger.find([key, "other"])
    return found[key].state if key in found else None
