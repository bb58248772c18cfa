"""The RowMapper of a table makes each of its rows a job line."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.errors import UsageError
from sender.inputs.mapping.attachment_folder import AttachedFiles, Place
from sender.inputs.mapping.leaves import DROPPED, FileReference, compile_leaf
from sender.inputs.mapping.template import Expression, FilePattern, parts_of
from sender.inputs.mapping.values import CellError, as_text
from sender.jobs.job import Line, Row
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.inputs.mapping.attachment_folder import AttachmentFolder
    from sender.inputs.mapping.columns import Columns
    from sender.inputs.mapping.leaves import Leaf
    from sender.jobs.kinds import LaneName

_TOKEN: Final = secrets.token_hex(16)
"""Stands for a file while a body is written; no row can hold it."""
_QUOTED: Final = f'"{_TOKEN}"'.encode()


class RowMapper:
    """Bound to one table's columns; raises UsageError when it is made, and tells of a row's faults in its line."""

    def __init__(
        self, document: dict[str, Any], columns: Columns, folder: AttachmentFolder | None, lane: LaneName | None
    ) -> None:
        self.lane = lane
        """The one lane of all rows; None where the kind stands in a column."""
        self._compiler = _Compiler(columns, folder)
        self._folder = folder
        self._files: list[str] = []
        envelope = {name: value for name, value in document.items() if name not in ("id", "payload")}
        self._id = self._compiler.compile_id(document["id"]) if "id" in document else None
        self._head = self._compiler.compile(envelope, "")
        self._body = self._compiler.compile(document["payload"], "")
        self._row = Row(self._compiler.fields)

    @property
    def has_id(self) -> bool:
        """Whether rows are known by an id."""
        return self._id is not None

    def id_of(self, values: Sequence[Any]) -> str | None:
        """The row's id; None where it has none, or none that can be read."""
        try:
            return None if self._id is None else str(self._id(values))
        except CellError:
            return None

    def line(self, source: str, number: int, values: Sequence[Any]) -> Line:
        """The row's job line, or what is wrong with the row."""
        try:
            head = self._head(values) if self._id is None else {"id": self._id(values), **self._head(values)}
            body, row = self._write_body(self._body(values)), self._row
            if self._files:
                body, places = _with_references(body, self._files)
                row = Row(self._compiler.fields, files=AttachedFiles(self._folder, places))
                self._files = []
            start = orjson.dumps(head)[:-1]
        except CellError:
            self._files = []
            return self.faulty(source, number, values, self._problems(values))
        return Line(source, number, b'%b%b"payload":%b}' % (start, b"," if head else b"", body), row=row)

    def faulty(self, source: str, number: int, values: Sequence[Any], problems: Sequence[Problem]) -> Line:
        """A line that tells what is wrong with its row."""
        row = Row(self._compiler.fields, self.id_of(values) if values else None, tuple(problems))
        return Line(source, number, b"", row=row)

    def _write_body(self, payload: Any) -> bytes:
        try:
            return orjson.dumps(payload, default=self._note_file)
        except TypeError:
            self._files = []
        try:
            text = json.dumps(payload, default=self._note_file)
            text.encode("utf-8", "strict")
        except (TypeError, ValueError):
            raise CellError("holds a character that its encoding does not have") from None
        return text.encode()

    def _note_file(self, reference: Any) -> str:
        if not isinstance(reference, FileReference):
            raise TypeError
        self._files.append(reference.path)
        return _TOKEN

    def _problems(self, values: Sequence[Any]) -> list[Problem]:
        """What is wrong with each leaf."""
        found: list[Problem] = []
        for path, leaf in self._compiler.leaves:
            try:
                orjson.dumps(leaf(values), default=lambda _: None)
            except CellError as error:
                column = error.column or self._compiler.fields.get(path)
                found.append(Problem("bad_cell", path, f"column {column} {error}", column))
            except TypeError:
                column = self._compiler.fields.get(path)
                message = f"column {column} holds characters that are none in the table's encoding; see --encoding"
                found.append(Problem("bad_cell", path, message, column))
        return found


class _Compiler:
    """Makes functions of a row of a mapping's objects, and keeps which columns each field comes from."""

    def __init__(self, columns: Columns, folder: AttachmentFolder | None) -> None:
        self._columns = columns
        self._folder = folder
        self.fields: dict[str, str] = {}
        """The columns of each field, by its path: `identifiers.id`."""
        self.leaves: list[tuple[str, Leaf]] = []

    def compile(self, node: Any, path: str) -> Leaf:
        """A function from a row to what stands in the node's place."""
        if isinstance(node, dict):
            return self._object(node, path)
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

        def text(row: Sequence[Any]) -> str:
            texts = [as_text(leaf(row)) for leaf in leaves]
            if not all(texts):
                raise CellError("is empty, and the id that makes the row unique needs it", self.fields["id"])
            return texts[0] if len(texts) == 1 else "/".join(map(_quoted, texts))

        return text

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
            return lambda row: {name: value for name, leaf in members if (value := leaf(row)) is not DROPPED}

        def values(row: Sequence[Any]) -> dict[str, Any]:
            found = {name: value for name, leaf in members if (value := leaf(row)) is not DROPPED}
            found.update((as_text(name(row)), value) for name, leaf in named if (value := leaf(row)) is not DROPPED)
            return found

        return values

    def _leaf(self, node: str | Expression, path: str) -> Leaf:
        parts = parts_of(node) if isinstance(node, str) else [node]
        used: list[str] = []
        for part in parts:
            if isinstance(part, Expression):
                used.append(part.column)
            elif isinstance(part, FilePattern):
                if self._folder is None:
                    raise UsageError("{{file:…}} needs --attachments DIR, the folder of the files")
                used += [piece.column for piece in part.parts if isinstance(piece, Expression)]
        leaf = compile_leaf(parts, self._columns)
        if used:
            self.fields[path] = ", ".join(dict.fromkeys(used))
            self.leaves.append((path, leaf))
        return leaf


def _quoted(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


def _with_references(body: bytes, paths: Sequence[str]) -> tuple[bytes, tuple[Place, ...]]:
    """The body with the name of each file in its place, in base64 as a file would stand there."""
    first, *others = body.split(_QUOTED)
    pieces, places, size = [first], [], len(first)
    for path, following in zip(paths, others, strict=True):
        reference = b64encode(f"file:{path}".encode("utf-8", "surrogatepass"))
        places.append(Place(size + 1, size + 1 + len(reference), path))
        pieces += [b'"', reference, b'"', following]
        size += len(reference) + 2 + len(following)
    return b"".join(pieces), tuple(places)
