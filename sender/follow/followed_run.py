"""A FollowedRun is what a run of `send` or `consume` left behind: its outcome log, or its ledger where the log is gone.

The log may still grow: it is read on from where it ended.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import orjson

from sender.errors import HaltError, UsageError
from sender.follow.delivery import Delivery
from sender.follow.delivery_log import beside
from sender.follow.news import is_time
from sender.jobs.kinds import SEND_KINDS
from sender.jobs.status import STATUSES
from sender.runtime.file_lock import is_locked
from sender.session.memories import open_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LEDGER: Final = ".ledger"
REHEARSAL: Final = ".rehearsal.jsonl"
BATCH: Final = 2000
MOST_LINE: Final = 1 << 20
"""Bytes of a line; longer ones no run writes."""
_TRIGGER: Final = re.compile(r"[0-9]+/[0-9]+")
"""What a ledger keeps of a broadcast in the place of a delivery."""


class FollowedRun(Protocol):
    """Where deliveries are learned from."""

    deliveries: Path
    """Where what becomes of them is written."""

    @property
    def unnamed(self) -> int:
        """Jobs that stand as sent and whose delivery nobody can name."""

    @property
    def grows(self) -> bool:
        """Whether the run still works."""

    @property
    def since(self) -> float | None:
        """Unix seconds from which on its deliveries have to be looked for; None where it names them all."""

    def read(self) -> list[Delivery]:
        """The next deliveries; none where there are no further ones now."""

    async def known(self, ids: Iterable[str]) -> set[str]:
        """Which of these are deliveries of its own, though it has not named them."""

    async def count(self) -> int:
        """How many sends it has made, where it does not name them all; else 0."""


class _Named:
    """A run that names all of its deliveries."""

    since = None

    async def known(self, ids: Iterable[str]) -> set[str]:
        """See `FollowedRun.known`."""
        del ids
        return set()

    async def count(self) -> int:
        """See `FollowedRun.count`."""
        return 0


class OutcomeRun(_Named):
    """A run by its outcome log."""

    def __init__(self, path: Path) -> None:
        self.deliveries = beside(path)
        self._path = path
        self._offset = 0
        self._file: tuple[int, int] | None = None
        """Device and inode of what was read so far."""
        self._unnamed: set[Any] = set()
        _check_log(path)

    @property
    def unnamed(self) -> int:
        """See `FollowedRun.unnamed`."""
        return len(self._unnamed)

    @property
    def grows(self) -> bool:
        """See `FollowedRun.grows`."""
        return is_locked(self._path)

    def read(self) -> list[Delivery]:
        """See `FollowedRun.read`; HaltError when the log is not the one that it was."""
        found: list[Delivery] = []
        try:
            with self._path.open("rb") as file:
                self._check_is_the_same(file.fileno())
                file.seek(self._offset)
                while len(found) < BATCH and (line := _next_line(file)):
                    self._offset = file.tell()
                    delivery = self._delivery(line)
                    if delivery is not None:
                        found.append(delivery)
        except OSError as error:
            raise HaltError(f"the outcome log {self._path} cannot be read: {error.strerror}") from None
        return found

    def _check_is_the_same(self, handle: int) -> None:
        seen = os.fstat(handle)
        file = seen.st_dev, seen.st_ino
        if seen.st_size < self._offset or self._file not in (None, file):
            raise HaltError(
                f"the outcome log {self._path} is another one by now: run the same command again, it goes on with "
                "what is there"
            )
        self._file = file

    def _delivery(self, line: bytes) -> Delivery | None:
        try:
            outcome = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(outcome, dict) or outcome.get("status") != "sent":
            return None
        job, kind, delivery_id = outcome.get("id"), outcome.get("kind"), outcome.get("delivery_id")
        if isinstance(delivery_id, str) and kind in SEND_KINDS:
            self._unnamed.discard(job)
            return Delivery(delivery_id, job, kind, _accepted_at(outcome))
        self._unnamed.add(job)
        return None


class LedgerRun(_Named):
    """A run by its ledger alone: it knows deliveries, and neither when they were accepted nor of which kind."""

    def __init__(self, path: Path, host: str) -> None:
        self.deliveries = beside(path)
        self.unnamed = 0
        self._memory = open_memory(path, host)
        self._jobs: Iterator[Delivery] = self._read()

    grows = False

    def read(self) -> list[Delivery]:
        """See `FollowedRun.read`."""
        return list(islice(self._jobs, BATCH))

    def _read(self) -> Iterator[Delivery]:
        for job in self._memory.jobs():
            if job.state != "sent":
                continue
            if job.result is None or _TRIGGER.fullmatch(job.result):
                self.unnamed += 1
            else:
                yield Delivery(job.result, None, None, None)
        self._memory.close()


def open_run(path: Path, host: str) -> FollowedRun:
    """The run behind an outcome log or a ledger; UsageError when it is neither, or one of another API."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: name the outcome log of a run, or its ledger")
    with path.open("rb") as file:
        is_ledger = file.read(6) == b"SQLite"
    named = path.with_name(f"{path.name}.outcomes.jsonl")
    if not is_ledger and named.is_file():  # the input was named
        return open_run(named, host)
    log = path.with_name(path.name.removesuffix(LEDGER)) if is_ledger else path
    ledger = path if is_ledger else path.with_name(path.name + LEDGER)
    if log.name.endswith(REHEARSAL):
        host = f"{host} (rehearsal)"
    if ledger.is_file():
        open_memory(ledger, host).close()  # says whether it belongs to another API
    if is_ledger and (log == path or not log.is_file()):
        return LedgerRun(path, host)
    return OutcomeRun(log)


def _next_line(file: BinaryIO) -> bytes:
    """The next whole line; empty where there is none yet. Of one that is too long its end alone, which says nothing."""
    while line := file.readline(MOST_LINE):
        if line.endswith(b"\n"):
            return line
        if len(line) < MOST_LINE:
            break
    return b""


def _check_log(path: Path) -> None:
    """UsageError when its first line is none of an outcome log."""
    with path.open("rb") as file:
        line = file.readline(MOST_LINE)
    try:
        outcome = orjson.loads(line) if line.endswith(b"\n") else {"status": STATUSES[0]}
    except orjson.JSONDecodeError:
        outcome = None
    if not isinstance(outcome, dict) or outcome.get("status") not in STATUSES:
        raise UsageError(f"{path} is no outcome log: its first line is none of an outcome")


def _accepted_at(outcome: dict[str, Any]) -> float | None:
    """By the API's clock where it told; a job that was adopted later by ours."""
    queued = outcome.get("queued_at")
    if is_time(queued):
        return float(queued)  # type: ignore[arg-type]
    for name in ("written_at", "finished_at"):
        text = outcome.get(name)
        if isinstance(text, str):
            try:
                return datetime.fromisoformat(text).timestamp()
            except ValueError:
                continue
    return None
