"""Rows of an outbox that cannot be changed, since a constraint or a trigger of the application says no: each is passed
by for a minute, and holds nobody up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sender.queues.queue import Message

REFUSALS: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.PLPGSQLError)
"""What is about a row. Where every row is refused, the reader says so instead of passing by."""
AGAIN_AFTER: Final = 60.0
MOST: Final = 100

log = structlog.get_logger()


class RefusedRows:
    """Those of one reader: rows that it could not take, and messages whose end could not be written."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._until: dict[int, float] = {}
        self._unended: dict[int, Message] = {}
        self._unended_until = 0.0

    @property
    def passed_by(self) -> list[int]:
        """Numbers of the rows that are not tried now."""
        now = asyncio.get_running_loop().time()
        self._until = {row: until for row, until in self._until.items() if until > now}
        return list(self._until)

    def pass_by(self, row: int | None, error: asyncpg.PostgresError) -> None:
        """Leave this row out; raises the error where there is none, or where there are too many."""
        if row is None or len(self._until) >= MOST:
            raise error
        log.warning("a row cannot be taken; others pass by", queue=self._source, row=row, error=_told(error))
        self._until[row] = asyncio.get_running_loop().time() + AGAIN_AFTER

    def keep(self, message: Message, error: asyncpg.PostgresError) -> None:
        """Write the end of this one later; its job has ended, and the memory knows it."""
        if not self._unended:
            self._unended_until = asyncio.get_running_loop().time() + AGAIN_AFTER
        log.warning(
            "what became of a job cannot be written to its row", queue=self._source, row=message.handle,
            error=_told(error),
        )
        self._unended[message.handle] = message

    def due(self) -> Iterable[Message]:
        """Those whose end is to be tried again now."""
        if not self._unended or asyncio.get_running_loop().time() < self._unended_until:
            return ()
        due, self._unended = self._unended, {}
        return due.values()


def _told(error: asyncpg.PostgresError) -> str:
    """Without the details, which show rows; the text of a trigger may show what it likes."""
    about = f" {error.constraint_name}" if getattr(error, "constraint_name", None) else ""
    return f"{type(error).__name__}{about}"
