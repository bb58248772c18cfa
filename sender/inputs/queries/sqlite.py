"""SQLite: `sqlite:///path/to/file.db`, opened for reading only."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


def read_sqlite(url: str, sql: str) -> Generator[Sequence[Any]]:
    """The columns' names, then the rows."""
    path = Path(unquote(url.partition("://")[2].partition("?")[0]))
    if not path.is_file() and (relative := Path(str(path).lstrip("/"))).is_file():
        path = relative  # sqlite:///orders.db is what most programs call a file of the working directory
    if not path.is_file():
        raise UsageError(f"there is no database {path}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA query_only = ON")
            cursor = database.execute(sql)
            if cursor.description is None:
                raise UsageError(f"{path}: the query gives no rows; write a SELECT")
            yield [name for name, *_ in cursor.description]
            yield from cursor
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise UsageError(f"{path}: the query fails: {error}") from None
