"""The texts of a mapping, taken apart: what stands around `{{…}}`, and what each of those asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.errors import UsageError
from sender.inputs.mapping.filters import CALL, FILTERS, to_date

if TYPE_CHECKING:
    from collections.abc import Callable

_PLACE: Final = re.compile(r"(\\?)\{\{(.*?)\}\}(?!\})", re.DOTALL)
_INNER: Final = re.compile(r"\{([^{}]*)\}")
FILE: Final = "file:"


class Expression(NamedTuple):
    """One `{{…}}`."""

    column: str
    filters: tuple[Callable[[Any], Any], ...] = ()
    optional: bool = False
    """Whether an empty cell drops the key."""
    default: str | None = None
    """What stands for an empty cell."""

    @property
    def is_plain(self) -> bool:
        """Whether it gives the cell as it stands."""
        return not self.filters and self.default is None


class FilePattern(NamedTuple):
    """One `{{file:…}}`: the path of an attachment, its columns between single braces."""

    parts: tuple[str | Expression, ...]


class ObjectOfColumns(dict[str, Any]):
    """An object that is left out when all its columns are empty."""


Part = str | Expression | FilePattern


def parts_of(text: str) -> list[Part]:
    """The parts of a text; UsageError for an expression that says nothing. `\\{{` is `{{` as it stands."""
    parts: list[Part] = []
    literal, end = "", 0
    for found in _PLACE.finditer(text):
        literal += _plain(text[end : found.start()])
        end = found.end()
        if found[1]:
            literal += found[0][1:]
            continue
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_read(found[2].strip()))
    literal += _plain(text[end:])
    if literal or not parts:
        parts.append(literal)
    return parts


def _plain(text: str) -> str:
    if "{{" in text:
        opened = text[text.index("{{") :][:40]
        raise UsageError(f"{opened} has no }}}}: close it, or write \\{{{{ for two braces as they stand")
    return text


def _read(inner: str) -> Expression | FilePattern:
    if inner.startswith(FILE):
        pattern = inner.removeprefix(FILE).strip()
        pieces = _INNER.split(pattern)  # texts and columns by turns
        return FilePattern(tuple(
            Expression(piece.strip()) if number % 2 else piece for number, piece in enumerate(pieces) if piece
        ))
    name, bar, default = inner.partition("|")
    name = name.rstrip()
    optional = name.endswith("?")
    name = name.removesuffix("?").rstrip()
    filters: list[Callable[[Any], Any]] = []
    while found := CALL.search(name):
        filters.insert(0, to_date(found[2]) if found[1] is None else FILTERS[found[1]])
        name = name[: found.start()].rstrip()
    if not name:
        raise UsageError(f"{{{{{inner}}}}} names no column")
    if optional and bar:
        raise UsageError(f"{{{{{inner}}}}} has both a default and ?; an empty cell can do only one of them")
    return Expression(name, tuple(filters), optional, default if bar else None)
