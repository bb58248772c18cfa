"""The bytes in which the payload stands in its line: they are what is sent.

No JSON decoder tells where a value stands, so the usual place is tried and proven: if the payload is the last member,
it must decode by itself, and the line with `0` in its place to an envelope. Otherwise the members are walked.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_START: Final = re.compile(rb'"payload"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
_BACKSLASH: Final = ord("\\")
_BRACE: Final = ord("}")
BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def take_apart(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The decoded line with its payload's bytes, where that is the last member; None if it is not, or not JSON.

    The place is proven: after it come but white space and one brace, so the key before it is a member of the outermost
    object, and as the last one it wins over others of its name.
    """
    found = _START.search(data)
    if found is None or data[found.start() - 1] == _BACKSLASH:
        return None
    start, end = found.end(), data.rfind(b"}")
    last = end if data[end - 1] == _BRACE else data.rfind(b"}", 0, end) + 1
    if last <= start or (last != end and data[last:end].strip()):
        return None
    body = data[start:last]
    try:
        payload = orjson.loads(body)  # one value and not several: a key may stand twice
        document = orjson.loads(data[:start].removeprefix(BOM) + b"0" + data[last:])
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or document.get("payload") != 0:
        return None
    document["payload"] = payload
    return document, body


def payload_bytes(data: bytes) -> bytes:
    """The payload of a line that has one, wherever it stands."""
    return member_bytes(data, "payload") or b""


def member_bytes(data: bytes, name: str) -> bytes | None:
    """The bytes of an object's member as they are written; of several the last, as for the decoder; None without one.

    `data` must be known to be a JSON object.
    """
    found = [value for key, value in _members(data) if key == name]
    return found[-1].encode() if found else None


def with_members(data: bytes, members: Mapping[str, bytes | None]) -> bytes:
    """The object with these members in place of its own; None takes one out. All others keep their bytes.

    `data` must be known to be a JSON object, the values to be JSON.
    """
    kept = [(key, value.encode()) for key, value in _members(data) if key not in members]
    new = [(key, value) for key, value in members.items() if value is not None]
    return b"{%b}" % b",".join(b"%b:%b" % (json.dumps(key).encode(), value) for key, value in (*kept, *new))


def _members(data: bytes) -> Iterator[tuple[str, str]]:
    """(key, value as it is written) of an object, in its order."""
    text = data.decode().removeprefix("\ufeff")
    decoder = json.JSONDecoder()
    place = _skip(text, text.index("{") + 1)
    while text[place] != "}":
        key, place = decoder.raw_decode(text, place)
        start = _skip(text, _skip(text, place) + 1)
        _, place = decoder.raw_decode(text, start)
        yield key, text[start:place]
        place = _skip(text, place)
        if text[place] == ",":
            place = _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place
