"""Reads the value of a setting, whether it was typed (a text) or stands in a TOML file. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.config.settings import Setting

DAY: Final = 86400
_SECONDS: Final = re.compile(r"(\d+\.?\d*|\.\d+)\s*(s|m|h|d)?", re.ASCII)
_SECOND_UNITS: Final = {None: 1, "s": 1, "m": 60, "h": 3600, "d": DAY}
_SIZE: Final = re.compile(r"(\d{1,15})\s*(KiB|MiB|GiB)?", re.ASCII)
_SIZE_UNITS: Final = {None: 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_FLAGS: Final = {
    "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
}
LEAST_SIZE: Final = 2**20
MOST_COUNT: Final = 10**12


def read_value(setting: Setting, value: Any) -> Any:
    """The setting's value; ValueError says in words what is allowed, and never repeats what was given."""
    return _READERS[setting.kind](value, setting)


def _text(value: Any, _: Setting) -> str:
    if not isinstance(value, str) or "\0" in value or not is_utf8(value):
        raise ValueError("must be a text in UTF-8")
    return value


def is_utf8(text: str) -> bool:
    """Whether a name from the command line can be written into a log."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choice(value: Any, setting: Setting) -> str:
    if not isinstance(value, str) or value not in setting.choices:
        raise ValueError(f"must be one of {', '.join(setting.choices)}")
    return value


def _flag(value: Any, _: Setting) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    raise ValueError("must be true or false")


def _seconds(value: Any, _: Setting) -> float:
    if _is_number(value) and 0 <= value < math.inf:
        return float(value)
    if isinstance(value, str) and (match := _SECONDS.fullmatch(value.strip())):
        return float(match.group(1)) * _SECOND_UNITS[match.group(2)]
    raise ValueError("must be seconds, like 30, 30s, 5m, 1h or 30d")


def _number(value: Any, _: Setting) -> float:
    """Above 0; `max` is without a limit."""
    if value == "max":
        return math.inf
    try:
        number = float(value) if isinstance(value, str) or _is_number(value) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("must be a number above 0")
    return number


def _count(value: Any, _: Setting) -> int:
    number = _whole(value)
    if number is None or number < 1:
        raise ValueError("must be a whole number, 1 or more")
    return number


def _limit(value: Any, _: Setting) -> int:
    number = _whole(value)
    if number is None or number < 0:
        raise ValueError("must be a whole number; 0 means all")
    return number


def _size(value: Any, _: Setting) -> int:
    match = _SIZE.fullmatch(str(value).strip()) if isinstance(value, str) or _whole(value) is not None else None
    size = int(match.group(1)) * _SIZE_UNITS[match.group(2)] if match else 0
    if size < LEAST_SIZE:
        raise ValueError("must be a size of 1MiB or more, like 64MiB")
    return size


def _statuses(value: Any, _: Setting) -> tuple[int, ...]:
    numbers = [_whole(one) for one in _listed(value)]
    found = tuple(number for number in numbers if number is not None and 400 <= number <= 599)
    if len(found) != len(numbers):
        raise ValueError("must be HTTP statuses from 400 to 599")
    return found


def _words(value: Any, setting: Setting) -> tuple[str, ...]:
    words = _listed(value)
    if not all(isinstance(word, str) and is_utf8(word) for word in words):
        raise ValueError("must be a list of texts")
    found = tuple(word.lower().lstrip(".") for word in words)
    if setting.choices and not set(found) <= set(setting.choices):
        raise ValueError(f"takes only {', '.join(setting.choices)}")
    return found


def _list(value: Any, _: Setting) -> tuple[str, ...]:
    """What may hold capitals and commas; only the environment parts it at commas."""
    texts = _listed(value)
    if not all(isinstance(text, str) and text.strip() and is_utf8(text) for text in texts):
        raise ValueError("must be texts, none of them empty")
    return tuple(text.strip() for text in texts)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list) else [value]


def _whole(value: Any) -> int | None:
    """An integer that is one, or is written as one."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= len(str(MOST_COUNT)):
        value = int(value)
    return value if type(value) is int and value <= MOST_COUNT else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_READERS: Final[dict[str, Callable[[Any, Setting], Any]]] = {
    "text": _text, "path": _text, "choice": _choice, "flag": _flag, "seconds": _seconds, "number": _number,
    "rate": _number, "count": _count, "limit": _limit, "size": _size, "statuses": _statuses, "words": _words,
    "list": _list,
}
