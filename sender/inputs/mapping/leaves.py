"""Leaves of a mapping, made into functions of a row; what a row's text holds never leaves its leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.errors import UsageError
from sender.inputs.mapping.template import Expression, FilePattern
from sender.inputs.mapping.values import CellError, as_json, as_text, is_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sender.inputs.mapping.columns import Columns
    from sender.inputs.mapping.template import Part

    Leaf = Callable[[Sequence[Any]], Any]


class _Dropped:
    """Stands for a value whose key is left out."""


DROPPED: Final = _Dropped()


class FileReference(NamedTuple):
    """An attachment that is read when its job starts."""

    path: str
    """Below the folder."""
    column: str | None
    """The columns that it was made of."""


def compile_leaf(parts: Sequence[Part], columns: Columns) -> Leaf:
    """A function from a row to what orjson writes in the leaf's place, or DROPPED; it raises CellError."""
    if len(parts) == 1:
        only = parts[0]
        if isinstance(only, Expression):
            return _typed(only, columns)
        if isinstance(only, FilePattern):
            return _file(only, columns)
        return lambda _: only
    if any(isinstance(part, FilePattern) for part in parts):
        raise UsageError("{{file:…}} must stand alone in its place")
    pieces = [_cell(part, columns) if isinstance(part, Expression) else str(part) for part in parts]

    def text(row: Sequence[Any]) -> Any:
        found: list[str] = []
        for piece in pieces:
            value = piece if isinstance(piece, str) else piece(row)
            if value is DROPPED:
                return DROPPED
            found.append(value if isinstance(value, str) else as_text(value))
        return "".join(found)

    return text


def _typed(expression: Expression, columns: Columns) -> Leaf:
    """The value with its own type."""
    cell = _cell(expression, columns)
    plain = not expression.filters
    if columns.texts and plain:
        return cell  # a text is what orjson writes

    def value(row: Sequence[Any]) -> Any:
        found = cell(row)
        try:
            return found if found is DROPPED else as_json(found)
        except CellError as error:
            raise error.of(expression.column) from None

    return value


def _cell(expression: Expression, columns: Columns) -> Leaf:
    """The raw value after default and filters."""
    column, filters, optional, default = expression
    get = columns.getter(column, optional=optional or default is not None)
    if not filters and not optional and default is None:
        return get

    def cell(row: Sequence[Any]) -> Any:
        value = get(row)
        if value is None or value == "":
            if optional:
                return DROPPED
            if default is None:
                raise CellError("is empty", column)
            value = default
        try:
            for one in filters:
                value = one(value)
        except CellError as error:
            raise error.of(column) from None
        return value

    return cell


def _file(pattern: FilePattern, columns: Columns) -> Leaf:
    pieces = [(part, None) if isinstance(part, str) else (part.column, _cell(part, columns)) for part in pattern.parts]
    column = ", ".join(part.column for part in pattern.parts if isinstance(part, Expression)) or None

    def reference(row: Sequence[Any]) -> FileReference:
        found: list[str] = []
        for text, cell in pieces:
            value = text if cell is None else as_text(cell(row))
            if cell is not None and is_empty(value):
                raise CellError("is empty, and names a file", text)
            found.append(value)
        return FileReference("".join(found), column)

    return reference
