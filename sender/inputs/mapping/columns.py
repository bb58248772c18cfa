"""The columns of a table: which there are, and how a row gives the value of one."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sender.errors import UsageError
from sender.inputs.mapping.filters import FILTERS
from sender.jobs.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_SHOWN = 20


class Columns:
    """The names in their order."""

    def __init__(self, names: Sequence[str], *, texts: bool, sparse: bool = False) -> None:
        self.names = tuple(names)
        self.texts = texts
        """Whether every cell is a text."""
        self._sparse = sparse
        self._places: dict[str, int] = {}
        for place, name in enumerate(self.names):
            self._places.setdefault(name, place)

    def getter(self, name: str, *, optional: bool = False) -> Callable[[Sequence[Any]], Any]:
        """What takes the column's value out of a row; UsageError, with the near name, when there is no such column.

        In a table of JSON objects `customer.email` is the member `email` of the column `customer`. Rows of such a
        table need not all have the same members: one that none of the first had is empty, if it is `optional`.
        """
        if name in self._places:
            return itemgetter(self._places[name])
        outer, dot, inner = name.partition(".")
        if dot and outer in self._places and not self.texts:
            return _descend(self._places[outer], inner.split("."))
        near = nearest(name, self.names)
        if self._sparse and optional and near is None:
            return _nothing
        raise UsageError(self.no_such(name, near))

    def no_such(self, name: str, near: str | None) -> str:
        """That there is no such column."""
        column, colon, wanted = name.rpartition(":")
        if colon and column in self._places:
            meant = nearest(wanted.strip(), FILTERS)
            known = f"there are :{', :'.join(FILTERS)} and :date(…)"
            return f"there is no filter :{wanted}; " + (f"is :{meant} meant?" if meant else known)
        shown = ", ".join(self.names[:MOST_SHOWN]) + (", …" if len(self.names) > MOST_SHOWN else "")
        return f"there is no column {name}; " + (f"is {near} meant?" if near else f"the columns are {shown}")


def _nothing(row: Sequence[Any]) -> None:
    del row


def _descend(place: int, path: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    def value(row: Sequence[Any]) -> Any:
        found = row[place]
        for name in path:
            if type(found) is not dict:
                return None
            found = found.get(name)
        return found

    return value
