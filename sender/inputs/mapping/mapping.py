"""A Mapping is a job as JSON with `{{column}}` in its leaves, read from a file or made of a table's column names."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.errors import UsageError
from sender.inputs.mapping.attachment_folder import AttachmentFolder
from sender.inputs.mapping.column_paths import ENVELOPE, document_of
from sender.inputs.mapping.row_mapper import RowMapper
from sender.inputs.mapping.template import Expression, parts_of
from sender.jobs.kinds import KINDS
from sender.jobs.nearest import nearest

if TYPE_CHECKING:
    from sender.inputs.input_options import InputOptions
    from sender.inputs.mapping.columns import Columns
    from sender.jobs.kinds import LaneName

MOST_MAPPING: Final = 4 << 20
NO_ID: Final = (
    "id names the column or columns that make a row unique, and nothing is sent twice by it; add it, or say "
    "--identity content to know rows by their content"
)


class Mapping:
    """How rows become jobs, before a table is known."""

    def __init__(self, name: str, document: dict[str, Any] | None, options: InputOptions) -> None:
        self._name = name
        self._document = document
        self._options = options
        self._folder = AttachmentFolder(options.attachments, check=options.check_files) if options.attachments else None

    @classmethod
    def load(cls, options: InputOptions) -> Mapping:
        """The mapping that the user names, or one by column names; UsageError tells what is wrong with it."""
        if not options.map:
            return cls("", None, options)
        try:
            data = Path(options.map).read_bytes()
            if len(data) > MOST_MAPPING:
                raise UsageError(f"{options.map} is too large to be a mapping")
            document = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
            json.loads(data.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=partial(_refuse_twice, options.map))
        except OSError as error:
            raise UsageError(f"the mapping {options.map} cannot be read: {error.strerror}") from None
        except orjson.JSONDecodeError as error:
            raise UsageError(f"the mapping {options.map} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise UsageError(f"the mapping {options.map} is not a job: it must be a JSON object")
        return cls(options.map, document, options)

    def bind(self, columns: Columns, source: str) -> RowMapper:
        """The mapping for the rows of one table; UsageError names a column that is not there, and the near one."""
        where = f"the mapping {self._name}" if self._name else source
        try:
            document = document_of(columns.names) if self._document is None else self._document
            if "payload" not in document:
                document = _around(document)
            _check_names(document)
            if "id" in document:
                document = document | {"id": _id_leaves(document["id"], columns)}
            elif not self._options.by_content:
                raise UsageError(f"there is no id: {NO_ID}")  # noqa: TRY301 - it gets its place below
            return RowMapper(document, columns, self._folder, self._lane(document.get("kind", self._options.kind)))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    def _lane(self, kind: Any) -> LaneName | None:
        """The one lane of all rows, None where the kind stands in a column; UsageError for a kind that there is not."""
        if not isinstance(kind, str) or not all(isinstance(part, str) for part in parts_of(kind)):
            return None
        if kind not in KINDS:
            near = nearest(kind, KINDS)
            hint = f"is {near} meant?" if near else f"the kinds are {', '.join(KINDS)}"
            raise UsageError(f"there is no kind {kind}; {hint}")
        return KINDS[kind].lane


def _around(payload: dict[str, Any]) -> dict[str, Any]:
    """The envelope around a bare payload."""
    if "kind" in payload:
        raise UsageError('there is a kind but no payload; use "payload": {} if it is empty')
    mixed = next((name for name in payload if name in ENVELOPE), None)
    if mixed is not None:
        raise UsageError(f"{mixed} is a key of the envelope; put the API's own body under the key payload")
    return {"payload": payload}


def _check_names(document: dict[str, Any]) -> None:
    for name in document:
        if name != "payload" and name not in ENVELOPE:
            near = nearest(name, (*ENVELOPE, "payload"))
            hint = f"is {near} meant?" if near else f"the keys are {', '.join(sorted(ENVELOPE))} and payload"
            raise UsageError(f"the envelope has a key {name} that does not exist; {hint}")
    if not isinstance(document["payload"], dict):
        raise UsageError("payload must be an object, the API's own body")


def _id_leaves(given: Any, columns: Columns) -> list[str | Expression]:
    """The leaves that make up the id: a text with `{{column}}`, a column's name, or a list of names."""
    given = given if isinstance(given, list) else [given]
    if not given or not all(isinstance(one, str | Expression) for one in given):
        raise UsageError("id must be a text with {{column}}, the name of a column, or a list of names")
    leaves: list[str | Expression] = []
    for one in given:
        if isinstance(one, str) and all(isinstance(part, str) for part in parts_of(one)):
            columns.getter(one)
            leaves.append(Expression(one))
        else:
            leaves.append(one)
    return leaves


def _refuse_twice(name: str, members: list[tuple[str, Any]]) -> dict[str, Any]:
    """UsageError when a key stands twice in one object: JSON would take the last, which may not be what is meant."""
    for key, number in Counter(key for key, _ in members).items():
        if number > 1:
            raise UsageError(f"the mapping {name} has {key} {number} times in one object; leave one of them")
    return dict(members)
