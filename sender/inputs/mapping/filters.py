"""The filters of a mapping: `{{column:int}}` and the like (docs/tables.md, "Filters")."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sender.inputs.mapping.values import CellError, NumberText, as_text, read_json

if TYPE_CHECKING:
    from collections.abc import Callable

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,4000}")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})
MOST_DIGITS: Final = 4000


def to_int(value: Any) -> Any:
    """An integer of any length."""
    if type(value) is int:
        return value
    if (isinstance(value, Decimal) and value == value.to_integral_value()) or (
        isinstance(value, float) and value.is_integer()
    ):
        return int(value)
    text = as_text(value).strip()
    if type(value) is bool or not _INTEGER.fullmatch(text):
        raise CellError("is not an integer")
    return int(text)


def to_float(value: Any) -> Any:
    """A number, in the digits in which it stands."""
    if type(value) in (int, float) or isinstance(value, Decimal | NumberText):
        return value
    text = as_text(value).strip()
    if type(value) is bool or len(text) > MOST_DIGITS or not _NUMBER.fullmatch(text):
        raise CellError("is not a number as JSON writes it, like 12.50")
    if float(text) in (float("inf"), float("-inf")):
        raise CellError("is too great for a number")
    return NumberText(text)


def to_bool(value: Any) -> bool:
    """True or false."""
    if type(value) is bool:
        return value
    text = as_text(value).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        raise CellError("is neither true nor false")
    return text in _TRUE


def to_json(value: Any) -> Any:
    """The JSON value that the text holds."""
    if not isinstance(value, str) or isinstance(value, NumberText):
        return value
    try:
        return read_json(value)
    except (ValueError, RecursionError):
        raise CellError("does not hold JSON") from None


def to_date(form: str) -> Callable[[Any], Any]:
    """A date in another form: `OUT` or `IN -> OUT`, each a form of strftime or `unix`."""
    given, arrow, wanted = form.rpartition("->")
    given, wanted = given.strip() if arrow else "", wanted.strip()

    def convert(value: Any) -> Any:
        moment = _moment(value, given)
        return int(moment.timestamp()) if wanted == "unix" else moment.strftime(wanted)

    return convert


def _moment(value: Any, form: str) -> datetime:
    """The instant; without an offset it is UTC."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, date):
            moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
        elif form == "unix" or type(value) in (int, float):
            moment = datetime.fromtimestamp(float(as_text(value)), UTC)
        elif form:
            moment = datetime.strptime(as_text(value).strip(), form)  # noqa: DTZ007 - the offset is seen to below
        else:
            moment = datetime.fromisoformat(as_text(value).strip())
    except (ValueError, OverflowError, OSError):
        wanted = f"in the form {form}" if form else "as ISO 8601 writes it, like 2026-11-20"
        raise CellError(f"is not a date {wanted}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


FILTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": to_int, "float": to_float, "bool": to_bool, "json": to_json, "text": as_text,
}
CALL: Final = re.compile(r":\s*(?:(int|float|bool|json|text)|date\(([^()]*)\))$")
"""The last filter of an expression."""


