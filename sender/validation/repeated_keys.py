"""Keys that stand twice in one object: the API takes the last one, and the first may have been meant."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def count_keys(text: bytes) -> int:
    """The keys of JSON text without white space before its colons.

    Texts that begin with a colon count too. So two writings of the same objects give the same number, unless a key
    stands twice or there is such white space: then `repeated_keys` has to look.
    """
    return text.count(b'":') - text.count(b'\\":')


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
