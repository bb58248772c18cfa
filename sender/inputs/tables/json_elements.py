"""The elements of a JSON array, one after another, in bounded memory; the array may stand alone or in an object."""

from __future__ import annotations

import codecs
import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.errors import InputError
from sender.inputs.mapping.values import DECODER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.inputs.files import InputFile

MOST_ELEMENT: Final = 26 * 2**20
"""Characters."""
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class Element(NamedTuple):
    """One element of the array."""

    text: str
    """As it stands."""
    value: Any


def elements_of(file: InputFile) -> Iterator[Element]:
    """The elements of the input's array; InputError tells the line at which it is no JSON.

    Of an object they are those of its one member that is an array of objects, or, if its members are arrays of
    values, the rows of those columns.
    """
    text = _Text(file)
    first = text.peek()
    if first == "[":
        yield from _array(text)
    elif first == "{":
        yield from _object(text)
    else:
        raise text.broken("neither an array nor an object begins here")
    if text.peek():
        raise text.broken("something follows the end of the JSON")


def _array(text: _Text) -> Iterator[Element]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.peek() == "]":
            text.take("]")
            return
        text.take(",")


def _object(text: _Text) -> Iterator[Element]:
    """The members are looked at in turn; the first array of objects has the rows."""
    text.take("{")
    columns: dict[str, list[Any]] = {}
    rows_of: str | None = None
    while text.peek() != "}":
        name = text.value().value
        text.take(":")
        if text.peek() != "[":
            text.value()
        else:
            rows = _array(text)
            first = next(rows, None)
            if first is not None and isinstance(first.value, dict):
                if rows_of is not None:
                    raise text.broken(f"{name} is a second array of objects, beside {rows_of}; give one of them alone")
                rows_of = name
                yield first
                yield from rows
            elif rows_of is not None:
                deque(rows, maxlen=0)
            elif first is not None:
                columns[name] = [first.value, *(element.value for element in text.bounded(rows))]
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if rows_of is None:
        yield from _rows_of(columns, text)


def _rows_of(columns: dict[str, list[Any]], text: _Text) -> Iterator[Element]:
    if len({len(column) for column in columns.values()}) > 1:
        raise text.broken("the columns that end here have not all the same length")
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        yield Element(json.dumps(row, ensure_ascii=False), row)


class _Text:
    """The input's text, read as far as it is needed."""

    def __init__(self, file: InputFile) -> None:
        self._name = file.name
        self._reader = file.chunks()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._place = 0
        self._lines = 1
        self._column = 0
        """Of the text's first character, from 0."""
        self._ended = False
        self._more()
        self._text = self._text.removeprefix("\ufeff")

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            self._place = found.end() if found else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Go on behind this character; InputError if another one stands there."""
        if self.peek() != wanted:
            raise self.broken(f"there must be a {wanted} here")
        self._place += 1

    def value(self) -> Element:
        """The next value."""
        self.peek()
        while True:
            size = len(self._text) - self._place
            try:
                value, end = DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                broken = error.pos - self._place
                if not self._more_than(size):
                    self._place = min(self._place + broken, len(self._text))
                    raise self.broken("this is no JSON") from None
            except (ValueError, RecursionError):
                raise self.broken("this nests too deep, or holds a number that JSON does not have") from None
            else:
                if end < len(self._text) or self._ended:
                    found = Element(self._text[self._place : end], value)
                    self._place = end
                    return found
                self._more()

    def bounded(self, elements: Iterator[Element]) -> Iterator[Element]:
        """The same, as long as they are few enough to be held."""
        size = 0
        for element in elements:
            size += len(element.text) + 50
            if size > MOST_ELEMENT:
                raise self.broken("columns of this size cannot be read row by row; write an array of objects")
            yield element

    def broken(self, reason: str) -> InputError:
        """What to raise at this place."""
        line = self._lines + self._text.count("\n", 0, self._place)
        column = self._column_at(self._place) + 1
        return InputError(f"{self._name} is broken at line {line:,}, column {column:,}: {reason}")

    def _column_at(self, place: int) -> int:
        line = self._text.rfind("\n", 0, place) + 1
        return place - line if line else self._column + place

    def _more_than(self, size: int) -> bool:
        """Whether there was more, and at least twice as much of it is here now."""
        if size > MOST_ELEMENT:
            return False
        while len(self._text) - self._place < 2 * size and self._more():
            pass
        return len(self._text) - self._place > size

    def _more(self) -> bool:
        if self._ended:
            return False
        chunk = self._reader.read()
        self._ended = not chunk
        try:
            following = self._decoder.decode(chunk, self._ended)
        except UnicodeDecodeError:
            raise self.broken("this is not UTF-8") from None
        self._lines += self._text.count("\n", 0, self._place)
        self._column = self._column_at(self._place)
        self._text = self._text[self._place :] + following
        self._place = 0
        return not self._ended
