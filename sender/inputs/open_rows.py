"""Opens what holds rows: the table of an input's format, and the mapping that makes jobs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.inputs.mapping.mapping import Mapping
from sender.inputs.row_input import JobArray, TableInput
from sender.inputs.tables.csv_table import CsvTable
from sender.inputs.tables.json_table import JsonTable

if TYPE_CHECKING:
    from sender.inputs.files import InputFile
    from sender.inputs.input_options import InputOptions
    from sender.inputs.row_input import RowInput
    from sender.inputs.tables import Table


def open_rows(file: InputFile, form: str, options: InputOptions) -> RowInput:
    """The input of a file that holds rows; UsageError when its mapping does not fit."""
    if form == "json" and not options.map:
        return JobArray(file)
    return mapped(_table(file, form, options), options)


def mapped(table: Table, options: InputOptions) -> TableInput:
    """A table whose rows become jobs."""
    return TableInput(table, Mapping.load(options).bind(table.columns, table.name))


def _table(file: InputFile, form: str, options: InputOptions) -> Table:
    if form in ("csv", "tsv"):
        delimiter = options.delimiter or ("\t" if form == "tsv" else "")
        return CsvTable(file, delimiter=delimiter, quote=options.quote, encoding=options.encoding)
    return JsonTable(file, by_line=form == "ndjson")
