"""Gives back rows of a table as they stood, with a column `why`, to be repaired and sent again."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import orjson

from sender.inputs.mapping.column_paths import WHY
from sender.inputs.mapping.values import CellError, as_text
from sender.inputs.tables.csv_table import CsvTable
from sender.inputs.tables.json_table import JsonTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.inputs.tables import Record, Table

    Why = Callable[[int], str | None]


def rows_again(table: Table, why: Why) -> Iterator[bytes]:
    """The header, and each row for which `why` tells something, in the table's own form.

    Rows of text stand byte for byte as they stood; of a table that is none they are written as CSV.
    """
    if isinstance(table, CsvTable):
        yield from _texts(table, why)
    elif isinstance(table, JsonTable):
        yield from _objects(table, why)
    else:
        yield _csv([*table.columns.names, WHY])
        for record, reason in _wanted(table, why):
            yield _csv([*map(_shown, record.values), reason])


def _wanted(table: Table, why: Why) -> Iterator[tuple[Record, str]]:
    for batch in table.batches():
        for record in batch:
            reason = why(record.number)
            if reason is not None:
                yield record, reason


def _texts(table: CsvTable, why: Why) -> Iterator[bytes]:
    yield table.mark + _with_field(table, table.header.text or "", WHY)
    for record, reason in _wanted(table, why):
        yield _with_field(table, record.text or "", reason)


def _with_field(table: CsvTable, text: str, field: str) -> bytes:
    """The text with a field at its end, and its own line end."""
    quote, delimiter = table.dialect.quote, table.dialect.delimiter
    bare = text.removesuffix("\r")
    field = " ".join(field.split())
    field = field.replace(delimiter, " ") if quote is None else f"{quote}{field.replace(quote, quote * 2)}{quote}"
    end = "\r\n" if len(bare) < len(text) else "\n"
    return table.encode(bare) + f"{delimiter}{field}{end}".encode(table.encoding, "replace")


def _objects(table: JsonTable, why: Why) -> Iterator[bytes]:
    for record, reason in _wanted(table, why):
        text = " ".join((record.text or "").splitlines()).rstrip()
        if record.problem is None:
            comma = "," if record.values and text.removesuffix("}").strip() != "{" else ""
            text = f"{text.removesuffix('}')}{comma}{orjson.dumps(WHY).decode()}:{orjson.dumps(reason).decode()}}}"
        yield f"{text}\n".encode()


def _shown(value: object) -> str:
    try:
        return as_text(value)
    except CellError:
        return ""


def _csv(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
