"""Tables: rows under named columns, whatever holds them (docs/tables.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs.mapping.columns import Columns
    from sender.jobs.problem import Problem


class Record(NamedTuple):
    """One row."""

    number: int
    """Counted from 1; the header is none."""
    values: Sequence[Any]
    """In the order of the columns."""
    problem: Problem | None = None
    """Why it is no row of this table; `values` then say nothing."""
    text: str | None = None
    """The row as it stood, where that is a text."""


class Table(Protocol):
    """One table, opened; it may be read several times, each time from its beginning."""

    name: str
    """The input's name, as outcomes tell it; it holds no credentials."""

    @property
    def columns(self) -> Columns:
        """Its columns, known before the first row is read."""

    def batches(self) -> Iterator[list[Record]]:
        """All rows, some thousand bytes at a time; raises InputError where the table breaks."""

    def keys(self, places: Sequence[int]) -> Iterator[list[Any]]:
        """Of each row, in the order of `batches`, what stands in these columns: something to compare rows by.

        It is quicker than reading whole rows; what a row that cannot be read gives is of no use.
        """

    def close(self) -> None:
        """Let go of it."""
