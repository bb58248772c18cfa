"""The table of a file, by the format of its rows; imported only when an input holds rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.inputs.tables.csv_table import CsvTable
from sender.inputs.tables.json_table import JsonTable
from sender.inputs.tables.parquet_table import ParquetTable
from sender.inputs.tables.workbook import workbook_table

if TYPE_CHECKING:
    from sender.inputs.files import InputFile
    from sender.inputs.input_options import InputOptions
    from sender.inputs.tables import Table


def table_of(file: InputFile, form: str, options: InputOptions) -> Table:
    """The table of a file; UsageError when it cannot be one."""
    if form in ("csv", "tsv"):
        delimiter = options.delimiter or ("\t" if form == "tsv" else "")
        return CsvTable(file, delimiter=delimiter, quote=options.quote, encoding=options.encoding)
    if form == "parquet":
        return ParquetTable(file)
    if form == "xlsx":
        return workbook_table(file)
    return JsonTable(file, by_line=form == "ndjson")
