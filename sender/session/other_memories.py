"""Memories beside a run's own: ledgers of the same API that this user has written, and outcome logs without a ledger.

What one of them knows as sent or in doubt is not sent again unasked (docs/delivery-semantics.md, "One memory"). Only a
job with an `id` is known over all of them; one without an `id` is known by its content to the memory of its own input.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sender.errors import UsageError
from sender.ledger.ledger_view import LedgerView
from sender.runtime.file_lock import is_locked
from sender.session.ledger_registry import registered
from sender.session.memories import LedgerMemory, LogMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sender.jobs.job import Line
    from sender.ledger import Ledger
    from sender.session.memories import Memory

LEDGER_SUFFIX: Final = ".ledger"
LOG_SUFFIX: Final = ".outcomes.jsonl"
BATCH: Final = 2000
WAYS_ON: Final = "Take that memory over with --adopt PATH, or send the jobs again, on your word, with --send-again"

log = structlog.get_logger()


class OtherMemories:
    """All that are found; holds jobs against them before they are sent."""

    def __init__(self, memories: Sequence[Memory], own: Ledger, key_of: Callable[[Line], str | None]) -> None:
        self._memories = memories
        self._own = own
        self._key_of = key_of
        """Identity of a line's job; None for what is no job."""

    def __len__(self) -> int:
        return len(self._memories)

    async def refuse(self, lines: Iterable[Line], stopped: Callable[[], bool]) -> None:
        """UsageError when some of these lines are known elsewhere as sent or in doubt, with their number."""
        found: Counter[Path] = Counter()
        remaining = iter(lines)
        while not stopped() and (keys := await asyncio.to_thread(self._next_keys, remaining)) is not None:
            found.update(await self._known(keys))
        if found:
            raise UsageError(f"{told(found)}; nothing was sent. {WAYS_ON}")

    def close(self) -> None:
        """Let go of their files."""
        for memory in self._memories:
            memory.close()

    async def refuse_batch(self, lines: Sequence[Line]) -> None:
        """See `refuse`, for a few lines of a stream."""
        found = await self._known([key for line in lines if (key := self._key_of(line))])
        if found:
            raise UsageError(f"{told(found)}; these and what follows were not sent. {WAYS_ON}")

    def _next_keys(self, lines: Iterator[Line]) -> list[str] | None:
        keys: list[str] = []
        for line in lines:
            key = self._key_of(line)
            if key is not None:
                keys.append(key)
            if len(keys) == BATCH:
                return keys
        return keys or None

    async def _known(self, keys: Sequence[str]) -> Counter[Path]:
        """How many of these each memory knows, those left out that the run's own knows too."""
        found = {
            memory.path: known for memory in self._memories if (known := await asyncio.to_thread(memory.known, keys))
        }
        if not found:
            return Counter()
        records = await self._own.find(list(set().union(*found.values())))
        own = {key for key, record in records.items() if record.state != "failed"}
        return Counter({path: len(known - own) for path, known in found.items() if known - own})


def know_content(memories: Iterable[Memory]) -> bool:
    """Whether one of them knows jobs without an id by their content: a log tells no other identity of theirs."""
    return any(isinstance(memory, LogMemory) for memory in memories)


def find_memories(
    ledger: Path, outcomes: Path, inputs: Sequence[Path], host: str, workspace: str | None
) -> list[Memory]:
    """The memories of this API beside `ledger`, which is a run's own and was opened before.

    Looked for among the ledgers that this user has written, and in the folders of these files; where a ledger is gone
    or cannot be read, its outcome log stands for it.
    """
    folders = {path.resolve().parent for path in (ledger, outcomes, *inputs)}
    logs_of = registered()
    found, broken = _open_ledgers(_other_ledgers(ledger, folders), host, workspace)
    logs = {one for one in _beside(folders, LOG_SUFFIX) if not Path(f"{one}{LEDGER_SUFFIX}").exists()}
    logs |= {one for path, one in logs_of.items() if one is not None and not path.exists()}
    logs |= {logs_of.get(path) or path.with_suffix("") for path in broken}
    logs.discard(outcomes.resolve())
    with closing(LedgerView.open(ledger)) as own:
        if own.fact("log") == "unread" or not ledger.exists():  # the log knows more than its ledger
            logs.add(outcomes.resolve())
    return [*found, *(LogMemory(path) for path in sorted(logs) if path.is_file() and path.stat().st_size)]


def find_ledgers(ledger: Path, folders: Iterable[Path], host: str, workspace: str | None) -> list[LedgerMemory]:
    """The ledgers of this API that this user has written, or that lie in these folders, but for the run's own."""
    return _open_ledgers(_other_ledgers(ledger, folders), host, workspace)[0]


def find_working(ledger: Path, host: str, workspace: str | None) -> list[LedgerMemory]:
    """Those in which another run is writing now; what a run that died has left was compared at the beginning."""
    paths = [path for path in _other_ledgers(ledger, ()) if Path(f"{path}-wal").exists() and is_locked(path)]
    return _open_ledgers(paths, host, workspace)[0]


def _beside(folders: Iterable[Path], suffix: str) -> set[Path]:
    return {path for folder in folders for path in folder.glob(f"*{suffix}") if path.is_file()}


def _other_ledgers(ledger: Path, folders: Iterable[Path]) -> list[Path]:
    return sorted({*filter(Path.is_file, registered()), *_beside(folders, LEDGER_SUFFIX)} - {ledger.resolve()})


def _open_ledgers(
    paths: Iterable[Path], host: str, workspace: str | None
) -> tuple[list[LedgerMemory], list[Path]]:
    """Those of this API and workspace, and the paths of those that cannot be read."""
    found, broken = [], []
    for path in paths:
        try:
            view = LedgerView.open(path)
            same = view.fact("host") == host and view.fact("workspace") in (None, workspace or view.fact("workspace"))
        except (UsageError, sqlite3.Error) as error:
            log.warning("a ledger cannot be read; its outcome log stands for it", path=str(path), error=str(error))
            broken.append(path)
            continue
        if same:
            found.append(LedgerMemory(path, view))
        else:
            view.close()
    return found, broken


def told(found: Counter[Path]) -> str:
    """A sentence for what memories know of a run's jobs: the number by memory."""
    memories = ", ".join(f"{path} ({number:,})" for path, number in found.most_common())
    return f"jobs of this run stand as sent or in doubt in another memory: {memories}"
