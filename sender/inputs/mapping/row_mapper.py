"""The RowMapper of a table makes each of its rows a job line."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.inputs.mapping.attachment_folder import AttachedFiles, Place
from sender.inputs.mapping.compiler import Compiler
from sender.inputs.mapping.leaves import FileReference
from sender.inputs.mapping.values import CellError
from sender.jobs.job import Line, Row
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.inputs.mapping.attachment_folder import AttachmentFolder
    from sender.inputs.mapping.columns import Columns
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
        self._compiler = Compiler(columns, files=folder is not None)
        self._folder = folder
        self._texts = columns.texts
        self._files: list[FileReference] = []
        envelope = {name: value for name, value in document.items() if name not in ("id", "payload")}
        self._id = self._compiler.compile_id(document["id"]) if "id" in document else None
        before = len(self._compiler.leaves)
        self._head = self._compiler.compile(envelope, "")
        changes = len(self._compiler.leaves) > before
        self._fixed_head = None if changes else orjson.dumps(self._head(()))[1:-1]
        """The envelope without its id, where it is the same for all rows."""
        self._body = self._compiler.compile(document["payload"], "")
        self._row = Row(self._compiler.fields)

    @property
    def id_columns(self) -> tuple[int, ...] | None:
        """The columns whose values tell rows apart; None where the id has to be made to know."""
        return () if self._id is None else self._compiler.id_columns

    def id_of(self, values: Sequence[Any]) -> str | None:
        """The row's id; None where it has none, or none that can be read."""
        try:
            return None if self._id is None else str(self._id(values))
        except CellError:
            return None

    def line(self, source: str, number: int, values: Sequence[Any]) -> Line:
        """The row's job line, or what is wrong with the row."""
        try:
            job_id = None if self._id is None else orjson.dumps(self._id(values))
            head = self._fixed_head if self._fixed_head is not None else orjson.dumps(self._head(values))[1:-1]
            body, row = self._write_body(self._body(values)), self._row
            if self._files:
                body, files = self._attach(body)
                if self._folder is not None and self._folder.check and (problems := files.problems()):
                    return self.faulty(source, number, values, problems)
                row = Row(self._compiler.fields, files=files)
        except (CellError, TypeError):
            self._files = []
            return self.faulty(source, number, values, self._problems(values))
        if job_id is not None:
            head = b'"id":%b,%b' % (job_id, head) if head else b'"id":%b' % job_id
        data = b'{%b,"payload":%b}' % (head, body) if head else b'{"payload":%b}' % body
        return Line(source, number, data, None, None, "normal", row)

    def faulty(self, source: str, number: int, values: Sequence[Any], problems: Sequence[Problem]) -> Line:
        """A line that tells what is wrong with its row."""
        row = Row(self._compiler.fields, self.id_of(values) if values else None, tuple(problems))
        return Line(source, number, b"", row=row)

    def _write_body(self, payload: Any) -> bytes:
        try:
            return orjson.dumps(payload, default=self._note_file)
        except TypeError:
            self._files = []
        if self._texts:
            raise CellError("holds bytes that are no characters in the table's encoding")
        return json.dumps(payload, default=self._note_file).encode()  # half an emoji stays the escape that it was

    def _attach(self, body: bytes) -> tuple[bytes, AttachedFiles]:
        """The body with the name of each file in its place, in base64 as a file would stand there."""
        references, self._files = self._files, []
        first, *others = body.split(_QUOTED)
        pieces, places, size = [first], [], len(first)
        for (path, column), following in zip(references, others, strict=True):
            name = b64encode(f"file:{path}".encode("utf-8", "surrogatepass"))
            places.append(Place(size + 1, size + 1 + len(name), path, column))
            pieces += [b'"', name, b'"', following]
            size += len(name) + 2 + len(following)
        return b"".join(pieces), AttachedFiles(self._folder, places)

    def _note_file(self, reference: Any) -> str:
        if not isinstance(reference, FileReference):
            raise TypeError
        self._files.append(reference)
        return _TOKEN

    def _problems(self, values: Sequence[Any]) -> list[Problem]:
        """What is wrong with each leaf."""
        found: list[Problem] = []
        leaves = [(path, leaf) for path, leaf in self._compiler.leaves if path != "id"]
        for path, leaf in [*leaves, *([] if self._id is None else [("id", self._id)])]:
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
