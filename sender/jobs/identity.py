"""Who a job is: hashes that never change between versions.

See docs/job-format.md, "Identity"; held by golden examples in the tests.

Numbers that are equal hash equal, however they are written: 1, 1.0 and 1e0. Integers and decimals that a float cannot
hold exactly keep every digit.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARKS: Final = bytes.maketrans(b"[,e", b"::.")
_NO_MARKS: Final = bytes(set(range(256)) - set(b':[,.e "/tfn'))
_LONG_NUMBER: Final = re.compile(rb"[0-9.]{16,}|[eE][+-]?[0-9]{3,}")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_GREAT: Final = 10**31


def key_of_id(workspace: str | None, text: str) -> str:
    """Identity of a job with an id: over all kinds, within one workspace."""
    data = text.encode()
    if workspace is None:
        return _digest(b"2:id0:%d:%b" % (len(data), data))
    return _hash(b"id", workspace.encode(), data)


def key_of_message(workspace: str | None, identity: str) -> str:
    """Identity of a job without an id that came as a message, by the message's own (docs/queues-and-state.md)."""
    return _hash(b"message", (workspace or "").encode(), identity.encode("utf-8", "surrogatepass"))


def content_of(kind: str, path_ids: Sequence[int], payload: bytes) -> str:
    """Hash of what a job asks for: kind, path ids and canonical payload."""
    if path_ids:
        return _hash(b"content", kind.encode(), ",".join(map(str, path_ids)).encode(), payload)
    return _digest(b"%b%d:%b" % (_content_head(kind), len(payload), payload))


@cache
def _content_head(kind: str) -> bytes:
    return b"7:content%d:%b0:" % (len(kind), kind.encode())


def key_of_content(workspace: str | None, content: str) -> str:
    """Identity of a job without an id."""
    return _hash(b"anonymous", (workspace or "").encode(), content.encode())


def canonical(payload: Any, body: bytes) -> tuple[bytes, bool]:
    """The payload with keys sorted at every level, no white space, and equal numbers written alike.

    Also whether nothing of `body` is missing in it: without decimals no writing is shorter, so that one which is as
    long dropped no key that stood twice. False means that this is not known.
    """
    text = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    if not (_may_have_float(text) and _has_float(payload)):  # integers that need more than 64 bits are floats here
        return text, len(text) == len(body)
    if _LONG_NUMBER.search(body):
        try:
            payload = json.loads(body, parse_float=Decimal)
        except (ArithmeticError, ValueError):  # numbers of thousands of digits: only the same writing is the same job
            return body, False
    return _write(payload).encode(), False


def _may_have_float(text: bytes) -> bool:
    """Cheap: without its digits a decimal in compact JSON is a point or an `e` behind a colon, comma or bracket."""
    return b":." in text.translate(_MARKS, _NO_MARKS)


def _has_float(value: Any) -> bool:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        values = value.values() if type(value) is dict else value
        for inner in values:
            kind = type(inner)
            if kind is float:
                return True
            if kind is dict or kind is list:
                waiting.append(inner)
    return False


def _write(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{_text(key)}:{_write(value[key])}" for key in sorted(value, key=str.encode))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return _number(value)


def _number(value: float | Decimal) -> str:
    """Shortest exact writing: integers without a point, others as digits and exponent."""
    if isinstance(value, int) and -_GREAT < value < _GREAT:
        return str(value)
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact:
        return "0"
    sign, digits, exponent = exact.as_tuple()
    text = "".join(map(str, digits))
    stripped = text.rstrip("0")
    power = int(exponent) + len(text) - len(stripped)
    if 0 <= power <= 30:
        return "-" * sign + stripped + "0" * power
    return f"{'-' * sign}{stripped}e{power}"


def _text(value: str) -> str:
    return orjson.dumps(value).decode()


def _hash(*parts: bytes) -> str:
    return _digest(b"".join([b"%d:%b" % (len(part), part) for part in parts]))


def _digest(framed: bytes) -> str:
    return b2a_base64(blake2b(framed, digest_size=16).digest(), newline=False)[:22].translate(_URL_SAFE).decode()
