"""Nothing personal leaves: text that comes from the API is masked before anyone may read it.

See docs/delivery-semantics.md, "The outcome log". A text of the API is short, and a payload may have 25 MB: so the text
chooses what is looked for, and a string of the payload is looked at more closely only if it stands in the text.
"""

from __future__ import annotations

import html
import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote
from zlib import crc32

import orjson

from sender.jobs.payload import read_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK: Final = "***"
SHORTEST: Final = 3
"""Payload strings below this length say nothing and stand in too many words."""
LONGEST_WORD: Final = 500
"""Longer ones are masked without being known: they are files and keys, not what an error is about."""
MOST_WORDS: Final = 50_000
MOST_BODY: Final = 8 * 2**20
MOST_VALUES: Final = 100_000
"""Larger payloads are not looked through for each error, since the event loop would stand: see `_api_words`."""
CHOSEN: Final = ("attachments", "headers", "message_data", "custom_data", "data")
_ADDRESS: Final = re.compile(r"(?<![^\s@<>\"'(),;:])[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_NUMBER: Final = re.compile(r"\+?\d(?:[\d\s().-]{3,}\d|\d{3,})")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_WORD: Final = re.compile(r"\S+")
PIECE: Final = 2**16
_PIECE: Final = re.compile(rf".{{1,{PIECE - 1}}}(?!\S)|\S+", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SHORT_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_EDGES: Final = "\"'`.,;:()[]{}<>=!?"
_API_WORDS: Final = (
    "a an and are at attachment attachments attributes audience bad be body broadcast by can cannot channel credentials"
    " data does duplicate each emails empty encoded endpoint error errors exceeds exist failed field fields file filter"
    " for format found has have id identifiers ids in integer invalid is it json key least length limit malformed many"
    " match maximum message missing more must no not of on one only or parse payload people per_user_data person queue"
    " rate recipients reference request required see sent size such template than that the this to too total trigger"
    " type unauthorized unknown url value values was with"
)
API_WORDS: Final = frozenset(_API_WORDS.split())
_BEARER: Final = re.compile(r"(?i)\bbearer\s+\S+")


def mask(text: str, body: bytes | None = None) -> str:
    """`text` without any string of the payload in `body`, and without what looks like an address, key or number."""
    text = _BEARER.sub(MASK, mask_credentials(text))
    secrets = _secrets(body, text)
    if secrets is None:
        return _api_words(text)
    lowered = text.lower()
    for secret in secrets:
        if secret.lower() in lowered:
            text = re.sub(re.escape(secret), MASK, text, flags=re.IGNORECASE)
    text = _ADDRESS.sub(MASK, text)
    return _NUMBER.sub(MASK, text)


def words_of(body: bytes) -> bytes | None:
    """Checksums of every word of the payload, for `mask_words` when the payload itself is gone; 4 bytes each.

    None when there are more than 50,000: nothing may be shown then.
    """
    seen: set[str] = set()
    for value in _values(read_payload(body)):
        for piece in _pieces(value):
            seen.update(piece.split())
            if len(seen) > MOST_WORDS:
                return None
    return b"".join(sorted({crc32(word).to_bytes(4, "big") for word in _words(seen)}))


def mask_words(text: str, words: bytes) -> str:
    """`text` without the words whose checksums `words_of` told, nor what looks like an address, key or number."""
    known = {words[place : place + 4] for place in range(0, len(words), 4)}

    def masked(found: re.Match[str]) -> str:
        word = found[0]
        personal = any(crc32(one).to_bytes(4, "big") in known for one in _words([word]))
        return MASK if personal or len(word) > LONGEST_WORD else word

    return mask(_WORD.sub(masked, text))


def _words(words: Iterable[str]) -> Iterator[bytes]:
    for word in words:
        if SHORTEST <= len(word) <= LONGEST_WORD:
            yield word.strip(_EDGES).lower().encode("utf-8", "replace")


def _pieces(text: str) -> Iterable[str]:
    """The text in pieces that end between words, so that no single step is long."""
    return (text,) if len(text) <= PIECE else (found[0] for found in _PIECE.finditer(text))


def mask_credentials(text: str) -> str:
    """`text` with the user and password of every URL in it masked."""
    return _CREDENTIALS.sub(f"{MASK}@", text)


def _api_words(text: str) -> str:
    """Only the words that the API is known to use, for a text whose payload is too large to be looked through."""
    return _WORD.sub(lambda found: found[0] if found[0].strip(_EDGES).lower() in API_WORDS else MASK, text)


def _secrets(body: bytes | None, text: str) -> list[str] | None:
    """Strings and numbers of the payload that stand in the text, in the forms in which they may, the longest first.

    None when there are too many of them to look at.
    """
    if body is None:
        return []
    if len(body) > MOST_BODY:
        return None
    try:
        payload = read_payload(body)
    except orjson.JSONDecodeError:
        return []
    unescaped = "\0".join({text, html.unescape(text), unquote(text), _unescape(text)}).lower()
    found: set[str] = set()
    for count, value in enumerate(chain(_values(payload), _chosen_names(payload))):
        if count >= MOST_VALUES:
            return None
        if len(value) <= len(unescaped) and value.lower() in unescaped:
            found.add(value)
    forms: set[str] = set()
    for value in found:
        forms.update((value, html.escape(value), quote(value), quote(value, safe=""), repr(value)[1:-1]))
        forms.update((orjson.dumps(value).decode()[1:-1], json.dumps(value)[1:-1]))
    return sorted((form for form in forms if len(form.strip()) >= SHORTEST), key=len, reverse=True)


def _unescape(text: str) -> str:
    """Without the escapes of JSON and Python."""

    def plain(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else _SHORT_ESCAPES.get(found[3], found[3])

    halves = _ESCAPE.sub(plain, text).encode("utf-16", "surrogatepass")
    return halves.decode("utf-16", "replace")


def _chosen_names(payload: Any) -> Iterator[str]:
    """Names that the sender made up: of files, headers and data, not those of the API's own fields."""
    for field in CHOSEN:
        waiting = [payload.get(field)] if isinstance(payload, dict) else []
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                yield from value
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)


def _values(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            yield value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield str(value)
