"""A Memory is what a run left behind by which later ones know its jobs: its ledger, or its outcome log alone."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from sender.errors import UsageError
from sender.jobs.identity import key_of_id
from sender.jobs.job import REHEARSAL
from sender.ledger.ledger_view import LedgerView, StoredJob
from sender.outcomes.outcome_log import read_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sender.ledger import Ledger

STANDING: Final = ("sent", "in_doubt", "handed_over")
TAIL: Final = 1 << 20
"""Bytes at the end of an outcome log that are held against its ledger."""
_KEY: Final = re.compile(r"[\w-]{22}", re.ASCII)


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
            if isinstance(text, str) and ended and not _is_rehearsal(outcome):
                detail = orjson.dumps(_detail(outcome)).decode()
                self._db.executemany(
                    "REPLACE INTO jobs VALUES (?, ?, ?)", ((key, status, detail) for key in _keys(text))
                )

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


def _is_rehearsal(outcome: Mapping[str, Any]) -> bool:
    """Whether somebody else got it, who only wanted to see it."""
    meta = outcome.get("meta")
    return isinstance(meta, dict) and REHEARSAL in meta


async def knows_log(ledger: Ledger, outcomes: Path) -> bool:
    """Whether the ledger knows the last jobs that its outcome log tells of; an older copy of it does not."""
    texts = await asyncio.to_thread(_last_sent, outcomes)
    known = await ledger.find([key for text in texts for key in _keys(text)])
    return all(any(key in known for key in _keys(text)) for text in texts)


def _last_sent(outcomes: Path) -> list[str]:
    """Ids of jobs that stand as sent near the end of the log."""
    with outcomes.open("rb") as file:
        start = max(0, outcomes.stat().st_size - TAIL)
        file.seek(start)
        lines = file.read().split(b"\n")[1 if start else 0 : -1]
    found = []
    for line in lines:
        with suppress(orjson.JSONDecodeError):
            outcome = orjson.loads(line)
            if outcome.get("status") == "sent" and isinstance(outcome.get("id"), str):
                found.append(outcome["id"])
    return found


def _keys(text: str) -> tuple[str, ...]:
    """What a ledger may know this id of an outcome by: without an id of its own a job's id is its key."""
    return (key_of_id(None, text), text) if _KEY.fullmatch(text) else (key_of_id(None, text),)


def _detail(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What a log tells of a job in doubt; nothing by which a delivery could be recognised."""
    detail = {name: outcome.get(name) for name in ("id", "kind", "source", "line", "attempts")}
    for name, field in (("since", "started_at"), ("until", "finished_at")):
        with suppress(ValueError, TypeError, KeyError):
            detail[name] = datetime.fromisoformat(outcome[field]).timestamp()
    return detail
