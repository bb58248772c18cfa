"""Opens inputs that hold rows; all that rows need is imported here, and not by a run of job lines."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from sender.inputs.row_input import JobArray, TableInput

if TYPE_CHECKING:
    from sender.inputs.files import InputFile
    from sender.inputs.input_options import InputOptions
    from sender.inputs.mapping.mapping import Mapping
    from sender.inputs.row_input import RowInput
    from sender.inputs.tables import Table


class RowOpener:
    """For the inputs of one command: they share a mapping, which is read when the first one needs it."""

    def __init__(self, options: InputOptions) -> None:
        self.options = options

    @cached_property
    def mapping(self) -> Mapping:
        """The mapping; UsageError when it cannot be read."""
        from sender.inputs.mapping.mapping import Mapping

        return Mapping.load(self.options)

    def open(self, file: InputFile, form: str) -> RowInput:
        """The input of a file that holds rows; UsageError when its mapping does not fit."""
        if form == "json" and not self.options.map:
            return JobArray(file)
        return self._mapped(self.table(file, form), file)

    def open_query(self, url: str) -> RowInput:
        """The rows of a query as an input."""
        return self._mapped(self.query(url))

    def table(self, file: InputFile, form: str) -> Table:
        """The table of a file, without a mapping; UsageError when it cannot be one."""
        from sender.inputs.tables.table_of import table_of

        return table_of(file, form, self.options)

    def query(self, url: str) -> Table:
        """The rows of a query, without a mapping."""
        from sender.inputs.queries.query import query_table

        return query_table(url, self.options.query)

    def _mapped(self, table: Table, file: InputFile | None = None) -> TableInput:
        return TableInput(table, self.mapping.bind(table.columns, table.name), file)
