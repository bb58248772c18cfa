"""The API's suppression lists: addresses that bounced, complained or do not exist (docs/api.md, "Reading the API")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError
from sender.errors import UsageError
from sender.send.exclusions.people import digest_of

if TYPE_CHECKING:
    from sender.engine.api_reader import ApiReader
    from sender.send.exclusions.digest_set import DigestSet

PATH: Final = "/v1/esp/suppression/{}"
TYPES: Final = ("bounces", "spam_reports", "invalid_emails")
"""Addresses that are `blocked` were refused once, and are tried again by the API."""
PAGE: Final = 1000
MOST: Final = 10_000_000

log = structlog.get_logger()


async def read_suppressions(reader: ApiReader, found: DigestSet) -> None:
    """Add every address on them; a key that may not read them is warned of, UsageError when they cannot be read."""
    readable = reader.readable
    try:
        for kind in TYPES:
            await _read(reader, PATH.format(kind), found)
    except ReadingRefusedError:
        reader.readable = readable  # it may read other things
        log.warning("the key may not read the API's suppression lists: nobody is left out by them")
    except ReadingFailedError as error:
        raise UsageError(
            f"--suppressions: the API's suppression lists cannot be read: {error}; nothing was sent. Try again, or "
            "send with --no-suppressions"
        ) from None
    else:
        log.info("suppression lists", addresses=len(found))


async def _read(reader: ApiReader, path: str, found: DigestSet) -> None:
    offset, before = 0, None
    while offset < MOST:
        entries = (await reader.read(path, limit=PAGE, offset=offset)).get("suppressions") or []
        if not isinstance(entries, list):
            raise ReadingFailedError("an answer has no list of suppressions")
        if not entries or entries == before:  # a list without pages gives the same one again
            return
        for entry in entries:
            if isinstance(entry, dict) and isinstance(entry.get("email"), str):
                found.add(digest_of(entry["email"]))
        offset, before = offset + len(entries), entries
    raise ReadingFailedError("a list does not end")
