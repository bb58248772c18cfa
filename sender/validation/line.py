"""From the bytes of a line to a JSON object, or to why it is none."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from sender.jobs.payload import mend
from sender.jobs.payload_span import take_apart
from sender.jobs.problem import Problem

BOM: Final = b"\xef\xbb\xbf"
TOO_DEEP: Final = Problem("too_deep", None, "the line nests too deep; about 250 levels are taken")


class Document(NamedTuple):
    """A line that is a JSON object."""

    members: dict[str, Any]
    body: bytes | None
    """The bytes of its payload, where that is its last member."""
    halves: tuple[int, ...] = ()
    """Where half of a surrogate pair stands, in bytes from 0; in `members` it is U+FFFD."""


def read_line(data: bytes) -> Document | Problem:
    """Read a line; never raises."""
    apart = take_apart(data)
    if apart is not None:
        return Document(apart[0], apart[1])
    data = data.removeprefix(BOM)
    halves: tuple[int, ...] = ()
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "surrogate" not in str(error):
            return _why_not_json(data, str(error))
        mended, halves = mend(data)
        try:
            found = orjson.loads(mended)
        except orjson.JSONDecodeError as other:
            return _why_not_json(mended, str(other))
    if isinstance(found, dict):
        return Document(found, None, halves)
    return Problem("not_an_object", None, "the line is JSON but not an object; write one object per line")


def _why_not_json(data: bytes, reason: str) -> Problem:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return Problem("invalid_utf8", None, f"the line is not UTF-8 (at byte {error.start}); save the file as UTF-8")
    if "depth limit" in reason:
        return TOO_DEEP
    place = reason.rpartition(": ")[2] if ": line" in reason else "its end"
    if "infinity" in reason:
        message = f"a number is too great for the API ({place}): nobody reads one beyond 1.8e308; give a text"
        return Problem("invalid_json", None, message)
    if not data.rstrip().endswith(b"}"):
        return Problem("invalid_json", None, f"the line is not JSON ({place}); it seems to be torn")
    return Problem("invalid_json", None, f"the line is not JSON ({place}); write one object per line")
