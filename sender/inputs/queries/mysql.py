"""MySQL and MariaDB: `mysql://USER:PASSWORD@HOST/DATABASE`, by an unbuffered cursor."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from sender.errors import UsageError
from sender.inputs.extras import imported
from sender.inputs.queries.place import place_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

TIMEOUT: Final = 60
"""Seconds for a connection."""
_JSON: Final = 245
"""The protocol's number of a column type."""


def read_mysql(url: str, sql: str) -> Generator[Sequence[Any]]:
    """The columns' names, then the rows."""
    parts = urlsplit(url)
    where = place_of(url)
    pymysql = imported("pymysql", "mysql", f"{where} is a MySQL database")
    cursors = imported("pymysql.cursors", "mysql", f"{where} is a MySQL database")
    try:
        with closing(pymysql.connect(
            host=parts.hostname or "localhost", port=parts.port or 3306, user=unquote(parts.username or ""),
            password=unquote(parts.password or ""), database=unquote(parts.path.lstrip("/")), charset="utf8mb4",
            cursorclass=cursors.SSCursor, connect_timeout=TIMEOUT,
        )) as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION READ ONLY")
            cursor.execute(sql)
            if cursor.description is None:
                raise UsageError(f"{where}: the query gives no rows; write a SELECT")
            yield [name for name, *_ in cursor.description]
            is_json = [column[1] == _JSON for column in cursor.description]
            if not any(is_json):
                yield from cursor
            for row in cursor:
                yield [_json(value) if of else value for value, of in zip(row, is_json, strict=True)]
    except (pymysql.Error, OSError) as error:
        reason = error.args[-1] if error.args else type(error).__name__
        raise UsageError(f"{where}: the query fails: {reason}") from None


def _json(value: str | None) -> Any:
    return None if value is None else orjson.Fragment(value)
