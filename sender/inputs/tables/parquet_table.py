"""Parquet files, read by DuckDB row group by row group (docs/tables.md, "Libraries")."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from sender.errors import InputError, UsageError
from sender.inputs.extras import imported
from sender.inputs.mapping.columns import Columns
from sender.inputs.tables import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.files import InputFile

BATCH: Final = 256
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
            result = self._run("SELECT * FROM read_parquet(?) LIMIT 0")
        except InputError as error:
            os.close(self._handle)
            raise UsageError(str(error)) from None
        self._columns = Columns([name for name, *_ in result.description], texts=False)
        result.close()

    @property
    def columns(self) -> Columns:
        """See `Table.columns`."""
        return self._columns

    def batches(self) -> Iterator[list[Record]]:
        """See `Table.batches`."""
        number = 0
        for rows in self._rows("SELECT * FROM read_parquet(?)"):
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
                yield rows
        except self._duckdb.Error:
            raise InputError(f"{self.name} is a damaged Parquet file: what was read of it stands") from None
        finally:
            result.close()

    def _run(self, query: str) -> Any:
        """A connection of its own: each reader of the table has its own place."""
        connection = self._duckdb.connect(config=_SETTINGS)
        try:
            return connection.execute(query, [f"/dev/fd/{self._handle}"])
        except self._duckdb.Error:
            connection.close()
            raise InputError(f"{self.name} cannot be read as Parquet") from None
