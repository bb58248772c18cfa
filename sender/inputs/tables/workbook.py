"""Excel workbooks (xlsx): their first sheet, or the one that is named (docs/tables.md, "Excel")."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError
from sender.inputs.extras import imported
from sender.inputs.tables.spooled_rows import spooled_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.files import InputFile
    from sender.inputs.tables.json_table import JsonTable

MOST_UNPACKED: Final = 256 << 20
"""Bytes; the library holds a sheet in memory while it reads it."""


def workbook_table(file: InputFile) -> JsonTable:
    """The table in the first sheet; UsageError when there is none."""
    calamine = imported("python_calamine", "xlsx", f"{file.name} is an Excel workbook")
    handle = file.handle()
    try:
        _refuse_bomb(file.name, handle)
        with os.fdopen(os.dup(handle), "rb") as opened:
            opened.seek(0)
            rows = calamine.CalamineWorkbook.from_filelike(opened).get_sheet_by_index(0).iter_rows()
            return _table(file.name, rows)
    except (calamine.CalamineError, zipfile.BadZipFile, IndexError):
        raise UsageError(f"{file.name} cannot be read as an Excel workbook") from None
    finally:
        os.close(handle)
        file.close()


def _refuse_bomb(name: str, handle: int) -> None:
    with os.fdopen(os.dup(handle), "rb") as opened, zipfile.ZipFile(opened) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_UNPACKED:
        raise UsageError(f"{name} is {size:,} bytes when it is unpacked, which is too much for memory; save it as CSV")


def _table(name: str, rows: Iterator[Sequence[Any]]) -> JsonTable:
    header = next((row for row in rows if any(cell != "" for cell in row)), None)
    if header is None:
        raise UsageError(f"{name} is empty; a table begins with the names of its columns")
    width = max(place for place, cell in enumerate(header, 1) if cell != "")
    return spooled_rows(name, header[:width], (_cells(row, width) for row in rows))


def _cells(row: Sequence[Any], width: int) -> list[Any] | None:
    """The row's cells; None for a blank row. A workbook has but one kind of number: whole ones are integers."""
    cells = [int(cell) if isinstance(cell, float) and cell.is_integer() else cell for cell in row[:width]]
    return cells if any(cell != "" for cell in cells) else None
