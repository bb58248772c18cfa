"""Reading the payload of a job, as the API reads it.

orjson refuses half of a surrogate pair (half an emoji) and reads integers over 64 bits as decimals; the API takes both.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import orjson

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|u|"
    rb"[^u](?:\\[^u])*+)"
)
TRAITS: Final = ("transactional_message_id", "identifiers", "to", "subject", "send_at", "queue_draft")
"""What reconcile recognises a delivery by (docs/api.md, "Reading the API")."""
MOST_READ: Final = 8192
"""Bytes of a payload of which a job keeps what is looked for in it: it holds on to those texts."""
_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")


class Mended(NamedTuple):
    """JSON in which U+FFFD stands for every half of a surrogate pair; nothing moves by it."""

    data: bytes
    halves: tuple[int, ...]
    """Where each stood, in bytes from 0."""


def mend(data: bytes) -> Mended:
    """Replace what decoders of strict UTF-8 put U+FFFD for, the API's among them."""
    halves: list[int] = []

    def replaced(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            return found[0]
        halves.append(found.start())
        return b"\\ufffd"

    return Mended(_ESCAPE.sub(replaced, data), tuple(halves))


def read_payload(body: bytes) -> dict[str, Any]:
    """A job's payload; its integers over 64 bits are floats."""
    payload: dict[str, Any]
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = orjson.loads(mend(body).data)
    return payload


def read_exactly(data: bytes) -> Any:
    """The same JSON with every integer in all its digits; None if it has no longer ones than `read_payload` reads."""
    if not _LONG_INTEGER.search(data):
        return None
    try:
        return json.loads(mend(data).data)
    except ValueError:  # thousands of digits
        return None


def traits_of(payload: dict[str, Any], body: bytes) -> dict[str, Any]:
    """What a delivery is recognised by, out of the checked payload of a send: the `TRAITS` that it has."""
    found: dict[str, Any] = {name: payload[name] for name in TRAITS if name in payload}
    if "identifiers" in found:
        found["identifiers"] = person_of(payload, body)
    return found


def person_of(payload: dict[str, Any], body: bytes) -> dict[str, str | int] | None:
    """The `identifiers` of a checked payload without what is null; integers over 64 bits as texts."""
    person = payload.get("identifiers")
    if type(person) is not dict:
        return None
    if len(person) == 1 and type(next(iter(person.values()))) is str:
        return person
    given = {name: value for name, value in person.items() if value is not None}
    if any(type(value) is float for value in given.values()):
        exact = (read_exactly(body) or payload)["identifiers"]
        given = {name: str(exact[name]) for name in given}
    return given
