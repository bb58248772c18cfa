"""Letters of a PostgreSQL table: its rows, which are read without a holder, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.outbox import statements as sql
from sender.queues.letters.letter_box import PAGE, Letter, LetterBox, read_reason
from sender.queues.message_identity import carried
from sender.queues.postgres import PostgresClient, PostgresConnection, members

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_BYTES = 16 * 2**20


class PostgresLetters(LetterBox[PostgresClient]):
    """See `LetterBox`."""

    connection_type = PostgresConnection
    _after = 0
    _last = 0

    async def _begin(self, client: PostgresClient) -> None:
        self._last = await client.value(sql.last_open(client.table)) or 0

    async def _read(self, client: PostgresClient) -> list[Letter]:
        rows = await client.rows(sql.open_rows(client.table), self._after, self._last, PAGE, PAGE_BYTES)
        if rows:
            self._after = rows[-1]["id"]
        return [
            Letter(
                row["raw"] if row["job"] is None else row["job"].encode(), read_reason(row["reason"]), row["id"],
                carried(members(row["headers"])),
            )
            for row in rows
        ]

    async def _remove(self, client: PostgresClient, letters: Sequence[Letter]) -> None:
        await client.rows(sql.Statements.of(client.table).delete, [letter.handle for letter in letters])
