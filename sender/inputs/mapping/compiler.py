"""The Compiler makes a mapping's objects into functions of a row, and keeps which columns each field comes from."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sender.errors import UsageError
from sender.inputs.mapping.leaves import DROPPED, compile_leaf
from sender.inputs.mapping.template import Expression, FilePattern, ObjectOfColumns, parts_of
from sender.inputs.mapping.values import CellError, as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.inputs.mapping.columns import Columns
    from sender.inputs.mapping.leaves import Leaf


class Compiler:
    """For one table; `files` says whether there is a folder for attachments."""

    def __init__(self, columns: Columns, *, files: bool) -> None:
        self._columns = columns
        self._files = files
        self.fields: dict[str, str] = {}
        """The columns of each field, by its path: `identifiers.id`."""
        self.leaves: list[tuple[str, Leaf]] = []
        self.id_columns: tuple[int, ...] | None = None

    def compile(self, node: Any, path: str) -> Leaf:
        """A function from a row to what stands in the node's place."""
        if isinstance(node, dict):
            whole = self._object(node, path)
            return (lambda row: whole(row) or DROPPED) if isinstance(node, ObjectOfColumns) else whole
        if isinstance(node, list):
            items = [self.compile(item, f"{path}[{place}]") for place, item in enumerate(node)]
            return lambda row: [value for item in items if (value := item(row)) is not DROPPED]
        if isinstance(node, str | Expression):
            return self._leaf(node, path)
        return lambda _: node

    def compile_id(self, given: Any) -> Leaf:
        """The text that makes a row unique; of several columns each is quoted so that their ends are known."""
        nodes = given if isinstance(given, list) else [given]
        leaves = [self._leaf(node, "id") for node in nodes]
        self.id_columns = self._places_of(nodes)
        first = leaves[0]

        def one_text(row: Sequence[Any]) -> str:
            found = as_text(first(row))
            if not found:
                raise CellError("is empty, and the id that makes the row unique needs it", self.fields["id"])
            return found

        def text(row: Sequence[Any]) -> str:
            texts = [as_text(leaf(row)) for leaf in leaves]
            if not all(texts):
                raise CellError("is empty, and the id that makes the row unique needs it", self.fields["id"])
            return "/".join(map(_quoted, texts))

        return one_text if len(leaves) == 1 else text

    def _places_of(self, nodes: Sequence[str | Expression]) -> tuple[int, ...] | None:
        """The columns of an id that is made of texts as they stand: it is equal where they are."""
        parts = [part for node in nodes for part in (parts_of(node) if isinstance(node, str) else [node])]
        used = [part for part in parts if not isinstance(part, str)]
        if not self._columns.texts or not all(isinstance(one, Expression) and one.is_plain for one in used):
            return None
        return tuple(self._columns.names.index(one.column) for one in used if isinstance(one, Expression))

    def _object(self, node: dict[str, Any], path: str) -> Leaf:
        members: list[tuple[str, Leaf]] = []
        named: list[tuple[Leaf, Leaf]] = []
        for name, value in node.items():
            inner = self.compile(value, f"{path}.{name}" if path else name)
            parts = parts_of(name)
            if len(parts) == 1 and isinstance(parts[0], str):
                members.append((parts[0], inner))
            else:
                named.append((self._leaf(name, path), inner))
        if not named:
            plain = [self._place_of(value) for value in node.values()]
            if len(plain) - plain.count(None) > 2:
                return _quick_object(members, plain)
            return lambda row: {name: value for name, leaf in members if (value := leaf(row)) is not DROPPED}

        def values(row: Sequence[Any]) -> dict[str, Any]:
            found = {name: value for name, leaf in members if (value := leaf(row)) is not DROPPED}
            found.update((as_text(name(row)), value) for name, leaf in named if (value := leaf(row)) is not DROPPED)
            return found

        return values

    def _place_of(self, node: Any) -> int | None:
        """The column that gives a node as it stands, without anything to be looked at."""
        parts = parts_of(node) if isinstance(node, str) else [node]
        if not self._columns.texts or len(parts) != 1 or not isinstance(parts[0], Expression):
            return None
        only = parts[0]
        return None if only.optional or not only.is_plain else self._columns.names.index(only.column)

    def _leaf(self, node: str | Expression, path: str) -> Leaf:
        parts = parts_of(node) if isinstance(node, str) else [node]
        used: list[str] = []
        for part in parts:
            if isinstance(part, Expression):
                used.append(part.column)
            elif isinstance(part, FilePattern):
                if not self._files:
                    raise UsageError("{{file:…}} needs --attachments DIR, the folder of the files")
                used += [piece.column for piece in part.parts if isinstance(piece, Expression)]
        leaf = compile_leaf(parts, self._columns)
        if used:
            self.fields[path] = ", ".join(dict.fromkeys(used))
            self.leaves.append((path, leaf))
        return leaf


def _quick_object(members: Sequence[tuple[str, Leaf]], plain: Sequence[int | None]) -> Leaf:
    """An object most of whose members are cells as they stand: those are taken out of the row at once."""
    names = [name for name, _ in members]
    cells = itemgetter(*[place or 0 for place in plain])
    others = [member for member, place in zip(members, plain, strict=True) if place is None]

    def values(row: Sequence[Any]) -> dict[str, Any]:
        found = dict(zip(names, cells(row), strict=True))
        for name, leaf in others:
            value = leaf(row)
            if value is DROPPED:
                del found[name]
            else:
                found[name] = value
        return found

    return values


def _quoted(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")
