"""Tables of JSON objects: an array of them, an object of arrays, or one object a line."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sender.errors import InputError, UsageError
from sender.inputs.mapping.columns import Columns
from sender.inputs.mapping.values import read_json
from sender.inputs.tables import Record
from sender.inputs.tables.json_elements import elements_of
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.files import InputFile

SAMPLE: Final = 1000
"""Rows whose members are taken to be all columns that there are."""
BATCH: Final = 200
Entry = tuple[int, Any, str, Problem | None]


class JsonTable:
    """See `sender.inputs.tables.Table`."""

    def __init__(self, file: InputFile, *, by_line: bool, columns: Columns | None = None) -> None:
        """`columns` where they are known, as those of a query; else the first rows tell them."""
        self.name = file.name
        self._file = file
        self._by_line = by_line
        self._columns = columns or self._look()

    @property
    def columns(self) -> Columns:
        """See `Table.columns`."""
        return self._columns

    def close(self) -> None:
        """See `Table.close`."""
        self._file.close()

    def batches(self) -> Iterator[list[Record]]:
        """See `Table.batches`."""
        names, entries = self._columns.names, self._entries()
        while batch := list(islice(entries, BATCH)):
            yield [
                Record(number, () if problem else [row.get(name) for name in names], problem, text)
                for number, row, text, problem in batch
            ]

    def keys(self, places: Sequence[int]) -> Iterator[list[Any]]:
        """See `Table.keys`."""
        for batch in self.batches():
            yield [None if record.problem else repr([record.values[place] for place in places]) for record in batch]

    def _look(self) -> Columns:
        names: dict[str, None] = {}
        try:
            for _, row, _, problem in islice(self._entries(), SAMPLE):
                if problem is None:
                    names.update(dict.fromkeys(row))
        except InputError as error:
            raise UsageError(str(error)) from None
        return Columns(tuple(names), texts=False, sparse=True)

    def _entries(self) -> Iterator[Entry]:
        found = self._lines() if self._by_line else enumerate(elements_of(self._file), 1)
        for number, (text, value) in found:
            if isinstance(value, Problem):
                yield number, None, text, value
            elif isinstance(value, dict):
                yield number, value, text, None
            else:
                yield number, None, text, Problem("not_an_object", None, "the row is JSON but not an object")

    def _lines(self) -> Iterator[tuple[int, tuple[str, Any]]]:
        """Each line with its number, blank ones counted as in an input of jobs."""
        for line in self._file.lines():
            try:
                text = line.data.decode()
                yield line.number, (text, line.fault or read_json(text))
            except UnicodeDecodeError:
                yield line.number, ("", Problem("invalid_utf8", None, "the line is not UTF-8"))
            except (ValueError, RecursionError):
                problem = Problem("invalid_json", None, "the line is not JSON; write one object per line")
                yield line.number, (text, problem)
