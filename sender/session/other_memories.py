"""Memories beside a run's own: ledgers of the same API that this user has written, and outcome logs without a ledger.

What one of them knows as sent or in doubt is not sent again unasked (docs/delivery-semantics.md, "One memory"). Only a
job with an `id` is known over all of them; one without an `id` is known by its content to the memory of its own input.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
import structlog

from sender.errors import UsageError
from sender.jobs.identity import key_of_id
from sender.jobs.job import REHEARSAL, Job
from sender.ledger.ledger_view import LedgerView, StoredJob
from sender.outcomes.outcome_log import read_outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sender.inputs import Feed
    from sender.jobs.job import Line
    from sender.ledger import Ledger
    from sender.validation.parser import Parser

LEDGER_SUFFIX: Final = ".ledger"
LOG_SUFFIX: Final = ".outcomes.jsonl"
STANDING: Final = ("sent", "in_doubt", "handed_over")
BATCH: Final = 2000

log = structlog.get_logger()


class Memory(Protocol):
    """One of them; used in one thread at a time."""

    path: Path

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of these identities that stand as sent or in doubt."""

    def jobs(self) -> Iterator[StoredJob]:
        """Everything that it knows, to be taken over."""

    def close(self) -> None:
        """Let go of its file."""


class LedgerMemory:
    """A ledger of another run."""

    def __init__(self, path: Path, view: LedgerView) -> None:
        self.path = path
        self.view = view

    def known(self, keys: Sequence[str]) -> set[str]:
        """See `Memory.known`."""
        return {key for key, record in self.view.find(keys).items() if record.state in STANDING}

    def jobs(self) -> Iterator[StoredJob]:
        """See `Memory.jobs`."""
        return self.view.jobs()

    def close(self) -> None:
        """See `Memory.close`."""
        self.view.close()


class LogMemory:
    """An outcome log whose ledger is gone, read into a private temporary file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute("CREATE TABLE jobs (key TEXT PRIMARY KEY, state TEXT, detail TEXT) WITHOUT ROWID")
        for outcome in read_outcomes(path):
            text, status = outcome.get("id"), outcome.get("status")
            ended = status in ("sent", "in_doubt", "rejected", "failed")
            if isinstance(text, str) and ended and not _rehearsed(outcome):
                detail = {name: outcome.get(name) for name in ("id", "kind", "source", "line", "attempts")}
                for key in {key_of_id(None, text), text}:  # without an id of its own a job's id is its key
                    self._db.execute("REPLACE INTO jobs VALUES (?, ?, ?)", (key, status, orjson.dumps(detail).decode()))

    def known(self, keys: Sequence[str]) -> set[str]:
        """See `Memory.known`."""
        rows = self._db.execute(
            "SELECT key FROM jobs WHERE key IN (SELECT value FROM json_each(?)) AND state IN ('sent', 'in_doubt')",
            (orjson.dumps(keys).decode(),),
        )
        return {key for (key,) in rows}

    def jobs(self) -> Iterator[StoredJob]:
        """See `Memory.jobs`; a log does not tell a job's content, which is taken to be the same."""
        for key, state, detail in self._db.execute("SELECT key, state, detail FROM jobs"):
            yield StoredJob(key, "", state, 1, None, detail if state == "in_doubt" else None)

    def close(self) -> None:
        """See `Memory.close`."""
        self._db.close()


class OtherMemories:
    """All that are found; holds jobs against them before they are sent."""

    def __init__(self, memories: Sequence[Memory], own: Ledger, parser: Parser) -> None:
        self._memories = memories
        self._own = own
        self._parser = parser
        self._by_content = any(isinstance(memory, LogMemory) for memory in memories)

    def __len__(self) -> int:
        return len(self._memories)

    async def refuse(self, lines: Iterable[Line], stopped: Callable[[], bool]) -> None:
        """UsageError when some of these lines are known elsewhere as sent or in doubt, with their number."""
        found: Counter[Path] = Counter()
        remaining = iter(lines)
        while not stopped() and (keys := await asyncio.to_thread(self._next_keys, remaining)) is not None:
            found.update(await self._known(keys))
        if found:
            raise UsageError(_told(found))

    def close(self) -> None:
        """Let go of their files."""
        for memory in self._memories:
            memory.close()

    def guard(self, feed: Feed) -> GuardedFeed:
        """A feed that ends with such an error before the first such line."""
        return GuardedFeed(feed, self)

    async def refuse_batch(self, lines: Sequence[Line]) -> None:
        """See `refuse`, for a few lines of a stream."""
        found = await self._known([key for line in lines if (key := self._key(line))])
        if found:
            raise UsageError(_told(found))

    def _next_keys(self, lines: Iterator[Line]) -> list[str] | None:
        keys: list[str] = []
        for line in lines:
            key = self._key(line)
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

    def _key(self, line: Line) -> str | None:
        if not self._by_content:
            return self._parser.key_of(line.data)
        job = self._parser.parse(line, 0.0)
        return job.key if isinstance(job, Job) else None


class GuardedFeed:
    """See `OtherMemories.guard`."""

    def __init__(self, feed: Feed, others: OtherMemories) -> None:
        self._feed = feed
        self._others = others

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`; UsageError when one of the lines is known elsewhere."""
        lines = await self._feed.read(most, most_bytes)
        await self._others.refuse_batch(lines)
        return lines


def find_memories(
    ledger: Path, outcomes: Path, inputs: Sequence[Path], host: str, workspace: str | None
) -> list[Memory]:
    """The memories of this API beside `ledger`, which is a run's own and was opened before.

    Looked for among the ledgers that this user has written, and in the folders of these files.
    """
    folders = {path.resolve().parent for path in (ledger, outcomes, *inputs)}
    found = find_ledgers(ledger, folders, host, workspace)
    logs = {one for one in _beside(folders, LOG_SUFFIX) if not Path(f"{one}{LEDGER_SUFFIX}").exists()}
    logs.discard(outcomes.resolve())
    with closing(LedgerView.open(ledger)) as own:
        if own.fact("run") == "1":  # a new ledger knows nothing of the log that lies there
            logs.add(outcomes.resolve())
    return [*found, *(LogMemory(path) for path in sorted(logs) if path.is_file() and path.stat().st_size)]


def find_ledgers(ledger: Path, folders: Iterable[Path], host: str, workspace: str | None) -> list[LedgerMemory]:
    """The ledgers of this API that this user has written, or that lie in these folders, but for the run's own."""
    paths = sorted({*registered(), *_beside(folders, LEDGER_SUFFIX)} - {ledger.resolve()})
    return [memory for path in paths if (memory := _open_ledger(path, host, workspace)) is not None]


def open_memory(path: Path, host: str) -> Memory:
    """The memory that the user names, a ledger of this API or an outcome log; UsageError when it is neither."""
    if not path.is_file():
        raise UsageError(f"there is no memory {path}: --adopt takes a ledger or an outcome log")
    with path.open("rb") as file:
        is_ledger = file.read(6) == b"SQLite"
    if not is_ledger:
        return LogMemory(path)
    view = LedgerView.open(path)
    if (known := view.fact("host")) not in (None, host):
        view.close()
        raise UsageError(f"the ledger {path} belongs to {known}, this run goes to {host}: it cannot be taken over")
    return LedgerMemory(path, view)


def registered() -> set[Path]:
    """Ledgers that this user has written, as far as they are still there."""
    try:
        names = _register().read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    return {path for name in names if (path := Path(name)).is_absolute() and path.is_file()}


def register(ledger: Path) -> None:
    """Have later runs know this ledger; where there is no folder to write to, they know what lies beside them."""
    path = ledger.resolve()
    if path in registered():
        return
    with suppress(OSError):
        _register().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(_register(), "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"{path}\n")


def _register() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "sender" / "ledgers"


def _beside(folders: Iterable[Path], suffix: str) -> set[Path]:
    return {path for folder in folders for path in folder.glob(f"*{suffix}") if path.is_file()}


def _open_ledger(path: Path, host: str, workspace: str | None) -> LedgerMemory | None:
    """None for a ledger of another API or workspace, and for what cannot be read."""
    try:
        view = LedgerView.open(path)
    except UsageError as error:
        log.warning("a memory of another run is passed over", error=str(error))
        return None
    other = view.fact("workspace")
    if view.fact("host") == host and (workspace is None or other is None or other == workspace):
        return LedgerMemory(path, view)
    view.close()
    return None


def _rehearsed(outcome: dict[str, Any]) -> bool:
    """Whether somebody else got it, who only wanted to see it."""
    meta = outcome.get("meta")
    return isinstance(meta, dict) and REHEARSAL in meta


def _told(found: Counter[Path]) -> str:
    memories = ", ".join(f"{path} ({number:,})" for path, number in found.most_common())
    return (
        f"jobs of this run stand as sent or in doubt in another memory: {memories}; nothing was sent. Take that memory "
        "over with --adopt PATH, or send the jobs again, on your word, with --send-again"
    )
