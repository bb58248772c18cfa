"""The values that rows hold, as JSON and as text; numbers keep every digit, and the way in which they were written."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


class NumberText(str):
    """A JSON number with a point or an exponent, as it was written."""

    __slots__ = ()


class CellError(Exception):
    """A cell that does not give what the job needs; the message never repeats what stands in it."""

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column

    def of(self, column: str) -> CellError:
        """The same, said of a column."""
        return CellError(str(self), self.column or column)


def read_json(text: str) -> Any:
    """A JSON value whose numbers keep their writing; raises ValueError."""
    return DECODER.decode(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


DECODER: Final = json.JSONDecoder(parse_float=NumberText, parse_constant=_no_constant)


def as_json(value: Any) -> Any:
    """What orjson writes for a value, with its own type; CellError for what JSON cannot hold."""
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is orjson.Fragment:
        return value
    if kind is int:
        return value if _LEAST <= value <= _MOST else orjson.Fragment(str(value))
    if kind is dict:
        return {name: as_json(inner) for name, inner in value.items()}
    if kind is list or kind is tuple:
        return [as_json(inner) for inner in value]
    text = _text_of_scalar(value)
    return orjson.Fragment(text) if isinstance(value, NumberText | Decimal | float) else text


def as_text(value: Any) -> str:
    """A value as a person writes it; nothing for null."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is dict or kind is list:
        return orjson.dumps(as_json(value)).decode()
    return _text_of_scalar(value)


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or value == ""


def _text_of_scalar(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CellError("holds a number that JSON does not have (infinite, or not a number)")
        return orjson.dumps(value).decode()
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise CellError("holds a number that JSON does not have (infinite, or not a number)")
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise CellError(f"holds a value of a type that no job can hold ({type(value).__name__})")
