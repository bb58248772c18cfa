"""Rows that are there only once, of a query or a workbook, in a private file: one JSON object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sender.errors import UsageError
from sender.inputs.files import InputFile
from sender.inputs.mapping.columns import Columns
from sender.inputs.mapping.values import CellError, as_json
from sender.inputs.spool import spool
from sender.inputs.tables.json_table import JsonTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def spooled_rows(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any] | None]) -> JsonTable:
    """A table of these rows, None for a blank one; UsageError when a value cannot be held."""
    names = [str(column).strip() for column in columns]
    repeated = sorted({one for one in names if names.count(one) > 1})
    if repeated:
        raise UsageError(f"{name} gives more than one column {', '.join(repeated)}; name them apart")
    handle = spool(name, _lines(name, names, rows))
    return JsonTable(InputFile(name, handle), by_line=True, columns=Columns(names, texts=False))


def _lines(name: str, names: Sequence[str], rows: Iterable[Sequence[Any] | None]) -> Iterator[bytes]:
    for number, row in enumerate(rows, 1):
        if row is None:
            yield b"\n"
            continue
        values = {column: _plain(name, number, column, value) for column, value in zip(names, row, strict=True)}
        yield orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def _plain(name: str, number: int, column: str, value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return str(value)  # infinite, or not a number: a text, which no filter takes for a number
    try:
        return as_json(value)
    except CellError as error:
        raise UsageError(f"{name}: column {column} of row {number:,} {error}; make a text of it") from None
