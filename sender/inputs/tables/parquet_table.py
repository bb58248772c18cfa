"""Parquet files, read by DuckDB row group by row group (docs/tables.md, "Libraries")."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from sender.errors import InputError, UsageError
from sender.inputs.extras import imported
from sender.inputs.mapping.columns import Columns
from sender.inputs.tables import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.files import InputFile

BATCH: Final = 256
EVERYTHING: Final = "SELECT * FROM read_parquet(?)"
ZONED: Final = "TIMESTAMP WITH TIME ZONE"
_EXACT: Final = {ZONED: "make_timestamp(epoch_us({0}))", "FLOAT": "CAST(CAST({0} AS VARCHAR) AS DOUBLE)"}
"""Instants in UTC, since DuckDB needs one more library for zones; floats of 32 bits by their shortest digits."""
_SETTINGS: Final = {
    "threads": "1", "memory_limit": "256MB", "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


class ParquetTable:
    """See `sender.inputs.tables.Table`."""

    def __init__(self, file: InputFile) -> None:
        self.name = file.name
        self._duckdb = imported("duckdb", "parquet", f"{file.name} is a Parquet file")
        self._file = file
        self._handle = file.handle()
        try:
            result = self._run(f"{EVERYTHING} LIMIT 0")
        except InputError as error:
            os.close(self._handle)
            raise UsageError(str(error)) from None
        self._columns = Columns([name for name, *_ in result.description], texts=False)
        self._zoned = [place for place, (_, kind, *_) in enumerate(result.description) if str(kind) == ZONED]
        self._query = _exact([(name, str(kind)) for name, kind, *_ in result.description])
        result.close()

    @property
    def columns(self) -> Columns:
        """See `Table.columns`."""
        return self._columns

    def batches(self) -> Iterator[list[Record]]:
        """See `Table.batches`."""
        number = 0
        for rows in self._rows(self._query):
            yield [Record(number + place, row) for place, row in enumerate(rows, 1)]
            number += len(rows)

    def keys(self, places: Sequence[int]) -> Iterator[list[Any]]:
        """See `Table.keys`."""
        for batch in self.batches():
            yield [repr([record.values[place] for place in places]) for record in batch]

    def close(self) -> None:
        """See `Table.close`."""
        os.close(self._handle)
        self._file.close()

    def _rows(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        result = self._run(query)
        try:
            while rows := result.fetchmany(BATCH):
                yield [self._with_zones(row) for row in rows] if self._zoned else rows
        except self._duckdb.Error as error:
            if "pytz" in str(error):
                raise InputError(f"{self.name} has a list or structure of zoned times, which cannot be read; "
                                 "make a text of it") from None
            raise InputError(f"{self.name} is a damaged Parquet file: what was read of it stands") from None
        finally:
            result.close()

    def _with_zones(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for place in self._zoned:
            if values[place] is not None:
                values[place] = values[place].replace(tzinfo=UTC)
        return tuple(values)

    def _run(self, query: str) -> Any:
        """A connection of its own: each reader of the table has its own place."""
        connection = self._duckdb.connect(config=_SETTINGS)
        try:
            return connection.execute(query, [f"/dev/fd/{self._handle}"])
        except self._duckdb.Error:
            connection.close()
            raise InputError(f"{self.name} cannot be read as Parquet") from None


def _exact(columns: Sequence[tuple[str, str]]) -> str:
    quoted = [('"' + name.replace('"', '""') + '"', kind) for name, kind in columns]
    replaced = ", ".join(f"{_EXACT[kind].format(name)} AS {name}" for name, kind in quoted if kind in _EXACT)
    return EVERYTHING.replace("*", f"* REPLACE ({replaced})") if replaced else EVERYTHING
