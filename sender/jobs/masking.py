"""Nothing personal leaves: text that comes from the API is masked before anyone may read it.

See docs/delivery-semantics.md, "The outcome log".
"""

from __future__ import annotations

import html
import re
from typing import Any, Final
from urllib.parse import quote
from zlib import crc32

import orjson

MASK: Final = "***"
SHORTEST: Final = 3
"""Payload strings below this length say nothing and stand in too many words."""
CHOSEN: Final = ("attachments", "headers", "message_data", "custom_data", "data")
_ADDRESS: Final = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_NUMBER: Final = re.compile(r"\+?\d(?:[\d\s().-]{3,}\d|\d{3,})")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_WORD: Final = re.compile(r"\S+")
_EDGES: Final = "\"'`.,;:()[]{}<>=!?"
_BEARER: Final = re.compile(r"(?i)\bbearer\s+\S+")


def mask(text: str, body: bytes | None = None) -> str:
    """`text` without any string of the payload in `body`, and without what looks like an address, key or number."""
    text = _BEARER.sub(MASK, mask_credentials(text))
    lowered = text.lower()
    for secret in _secrets(body):
        if secret.lower() in lowered:
            text = re.sub(re.escape(secret), MASK, text, flags=re.IGNORECASE)
    text = _ADDRESS.sub(MASK, text)
    return _NUMBER.sub(MASK, text)


def words_of(body: bytes) -> bytes:
    """Checksums of every word of the payload, for `mask_words` when the payload itself is gone; 4 bytes each."""
    words = {crc32(word) for value in _values(orjson.loads(body)) for word in _words(value)}
    return b"".join(word.to_bytes(4, "big") for word in sorted(words))


def mask_words(text: str, words: bytes) -> str:
    """`text` without the words whose checksums `words_of` told, nor what looks like an address, key or number."""
    known = {words[place : place + 4] for place in range(0, len(words), 4)}

    def masked(found: re.Match[str]) -> str:
        return MASK if any(crc32(word).to_bytes(4, "big") in known for word in _words(found[0])) else found[0]

    return mask(_WORD.sub(masked, text))


def _words(text: str) -> list[bytes]:
    return [word.strip(_EDGES).lower().encode("utf-8", "replace") for word in text.split() if len(word) >= SHORTEST]


def mask_credentials(text: str) -> str:
    """`text` with the user and password of every URL in it masked."""
    return _CREDENTIALS.sub(f"{MASK}@", text)


def _secrets(body: bytes | None) -> list[str]:
    """Every string and number of the payload in the forms in which it may come back, the longest first."""
    if body is None:
        return []
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    forms: set[str] = set()
    for value in (*_values(payload), *_chosen_names(payload)):
        forms.update((value, html.escape(value), quote(value), quote(value, safe=""), repr(value)[1:-1]))
        forms.add(orjson.dumps(value).decode()[1:-1])
    return sorted((form for form in forms if len(form.strip()) >= SHORTEST), key=len, reverse=True)


def _chosen_names(payload: Any) -> list[str]:
    """Names that the sender made up: of files, headers and data, not those of the API's own fields."""
    names: list[str] = []
    for field in CHOSEN:
        waiting = [payload.get(field)] if isinstance(payload, dict) else []
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                names.extend(value)
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
    return names


def _values(value: Any) -> list[str]:
    found: list[str] = []
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            found.append(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(str(value))
    return found
