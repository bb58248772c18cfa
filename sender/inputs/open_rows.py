"""Opens what holds rows: the table of an input's format, and the mapping that makes jobs of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from sender.inputs.mapping.mapping import Mapping
from sender.inputs.row_input import JobArray, TableInput
from sender.inputs.tables.csv_table import CsvTable
from sender.inputs.tables.json_table import JsonTable
from sender.inputs.tables.parquet_table import ParquetTable
from sender.inputs.tables.workbook import workbook_table

if TYPE_CHECKING:
    from sender.inputs.files import InputFile
    from sender.inputs.input_options import InputOptions
    from sender.inputs.row_input import RowInput
    from sender.inputs.tables import Table


class RowOpener:
    """For the inputs of one command: they share a mapping, which is read when the first one needs it."""

    def __init__(self, options: InputOptions) -> None:
        self.options = options

    @cached_property
    def mapping(self) -> Mapping:
        """The mapping; UsageError when it cannot be read."""
        return Mapping.load(self.options)

    def open(self, file: InputFile, form: str) -> RowInput:
        """The input of a file that holds rows; UsageError when its mapping does not fit."""
        if form == "json" and not self.options.map:
            return JobArray(file)
        return self.mapped(table_of(file, form, self.options), file)

    def mapped(self, table: Table, file: InputFile | None = None) -> TableInput:
        """A table whose rows become jobs."""
        return TableInput(table, self.mapping.bind(table.columns, table.name), file)


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
