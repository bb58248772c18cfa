"""Runs of this user that go on beside this one, each with a ledger of its own.

Two such runs may read the same job, and neither ledger knew it when they began. So each looks into the other's ledger
after its own hand-over is durable and before the request is written: at least one of them sees the other's hand-over
(docs/delivery-semantics.md, "One memory").
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import orjson
import structlog

from sender.errors import HaltError
from sender.session.ledger_registry import last_beginning
from sender.session.other_memories import find_working

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sender.ledger.ledger import HandOverRecord
    from sender.session.memories import LedgerMemory

log = structlog.get_logger()


class ConcurrentRuns:
    """Those of one API, found anew whenever a run of this user begins."""

    def __init__(self, ledger: Path, host: str, workspace: str | None) -> None:
        self._ledger = ledger
        self._host = host
        self._workspace = workspace
        self._seen: int | None = None
        self._ledgers: list[LedgerMemory] = []

    async def refuse(self, records: Sequence[HandOverRecord]) -> None:
        """HaltError when another run has one of these jobs; a job without an id is known to its own memory alone."""
        if (seen := last_beginning()) != self._seen:
            self._seen = seen
            self.close()
            self._ledgers = await asyncio.to_thread(find_working, self._ledger, self._host, self._workspace)
        if not self._ledgers:
            return
        keys = [record.key for record in records if orjson.loads(record.detail).get("id") != record.key]
        for memory in tuple(self._ledgers):
            if known := await asyncio.to_thread(self._known, memory, keys):
                raise HaltError(
                    f"another run, with the ledger {memory.path}, has {len(known):,} of the jobs that were to be sent "
                    "next. They were not sent here; the same command says what to do when that run has ended"
                )

    def close(self) -> None:
        """Let go of the files."""
        for memory in self._ledgers:
            memory.close()
        self._ledgers = []

    def _known(self, memory: LedgerMemory, keys: Sequence[str]) -> set[str]:
        try:
            return memory.known(keys)
        except sqlite3.Error as error:
            log.warning("the ledger of another run cannot be read any more", path=str(memory.path), error=str(error))
            self._ledgers.remove(memory)
            return set()
