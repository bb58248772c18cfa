"""Keys that stand twice in one object: the API takes the last one, and the first may have been meant."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson


def is_plain(data: bytes, members: dict[str, Any], last: bytes | None) -> bool:
    """Whether the envelope surely repeats no key; `last` is the payload where it is the line's last member.

    Cheap: a colon ends a key or stands in a text, and before the payload there is one for each member.
    """
    if last is None:
        return "payload" not in members
    return data.count(b":", 0, len(data) - len(last)) == len(members)


def may_repeat_keys(data: bytes, members: dict[str, Any], payload: bytes) -> bool:
    """Whether the JSON `data` may hold more keys than what was understood of it: its members, its payload as JSON.

    Cheap: a colon ends a key or stands in a text, and the texts are the same on both sides. What is understood has no
    more colons than `data`, so nothing is left over where one colon for each member of the envelope is enough.
    """
    left = data.count(b":") - payload.count(b":")
    if "payload" not in members:
        return left != 0
    return left != len(members) and left != orjson.dumps(members | {"payload": 0}).count(b":")


def repeated_keys(data: bytes) -> list[str]:
    """The keys that stand twice in one object, in any depth; `data` is known to be JSON."""
    found: dict[str, None] = {}

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            found.update(dict.fromkeys(key for key, count in counts.items() if count > 1))
        return members

    try:
        json.loads(data, object_pairs_hook=look)
    except ValueError:  # integers of thousands of digits
        return []
    return list(found)
