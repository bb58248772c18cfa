"""A query as a table: its rows are read by a server-side cursor in a read-only transaction, and kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sender.errors import UsageError
from sender.inputs.queries.place import place_of
from sender.inputs.tables.spooled_rows import spooled_rows

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sender.inputs.tables.json_table import JsonTable


def query_table(url: str, sql: str) -> JsonTable:
    """The query's rows; UsageError when there is no query, or the database refuses it."""
    name = place_of(url)
    if not sql.strip():
        raise UsageError(f"{name} is a database: say with --query or --query-file what is read from it")
    rows = _read(url, sql)
    columns = next(rows)
    try:
        if not columns:
            raise UsageError(f"{name}: the query gives no rows; write a SELECT")
        return spooled_rows(name, columns, rows)
    finally:
        rows.close()


def _read(url: str, sql: str) -> Generator[Sequence[Any]]:
    """First the names of the columns, then row by row."""
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from sender.inputs.queries.sqlite import read_sqlite as read
    elif scheme == "mysql":
        from sender.inputs.queries.mysql import read_mysql as read
    else:
        from sender.inputs.queries.postgres import read_postgres as read
    return read(url, sql)
