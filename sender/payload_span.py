"""The bytes in which the payload stands in its line: they are what is sent.

No JSON decoder tells where a value stands, so the usual place is tried and proven: if the payload is the last member,
the line with `0` in its place must decode to the same envelope. Otherwise the members are walked one by one.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

_START: Final = re.compile(rb'"payload"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
_SPACE: Final = re.compile(r"[ \t\r\n]*")


def payload_bytes(data: bytes, document: dict[str, Any]) -> bytes:
    """The payload of the line `data`, which decodes to `document` and has one that is an object."""
    start = _START.search(data)
    end = data.rfind(b"}")
    if start is not None and data.rfind(b"}", 0, end) >= start.end():
        last = data.rfind(b"}", 0, end) + 1
        if not data[last:end].strip() and _proves(data, start.end(), last, document):
            return data[start.end() : last]
    return _walk(data)


def _proves(data: bytes, start: int, end: int, document: dict[str, Any]) -> bool:
    """Whether the value at this place, and nothing else, is the payload."""
    try:
        orjson.loads(data[start:end])  # one value and not several: a key may stand twice
        rest = orjson.loads(data[:start].removeprefix(b"\xef\xbb\xbf") + b"0" + data[end:])
    except orjson.JSONDecodeError:
        return False
    if not isinstance(rest, dict) or rest.get("payload") != 0 or isinstance(rest["payload"], bool):
        return False
    return rest.keys() == document.keys() and all(
        rest[name] == value for name, value in document.items() if name != "payload"
    )


def _walk(data: bytes) -> bytes:
    """Scan the members of the outer object; the last `payload` wins, as it does for the decoder."""
    text = data.decode().removeprefix("\ufeff")
    decoder = json.JSONDecoder()
    place = _skip(text, text.index("{") + 1)
    found = (0, 0)
    while text[place] != "}":
        name, place = decoder.raw_decode(text, place)
        place = _skip(text, _skip(text, place) + 1)
        start = place
        _, place = decoder.raw_decode(text, start)
        if name == "payload":
            found = (start, place)
        place = _skip(text, place)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return text[found[0] : found[1]].encode()


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place
