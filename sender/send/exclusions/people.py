"""The people of a job: whom it names by address, number or identifier. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from sender.jobs.payload import person_of
from sender.validation.recipients import FIELDS, split_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.jobs.job import Job

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
DIGEST_LENGTH: Final = 64
_LIQUID: Final = re.compile(r"\{[{%]")


def digest_of(name: str) -> bytes:
    """SHA-256 of a person's name: an address in lower case, anything else as it is, without white space around it."""
    name = name.strip()
    return sha256((name.lower() if "@" in name else name).encode()).digest()


def digest_of_entry(entry: str) -> bytes:
    """The digest of an entry of a list: one that is a SHA-256 in hexadecimal stands for itself."""
    entry = entry.strip()
    is_digest = len(entry) == DIGEST_LENGTH and _DIGEST.fullmatch(entry)
    return bytes.fromhex(entry) if is_digest else digest_of(entry)


def names_in(job: Job, payload: Mapping[str, Any]) -> set[str]:
    """Every address, number and identifier that the payload of a send names; what is liquid cannot be known."""
    names = {name for field in FIELDS for name in recipients_in(payload, field)}
    return names | {str(value) for value in (person_of(dict(payload), job.body) or {}).values()}


def recipients_in(payload: Mapping[str, Any], field: str = "to") -> list[str]:
    """The addresses or numbers of a field, without names and comments."""
    value = payload.get(field)
    if not isinstance(value, str):
        return []
    return [_bare(piece.bare) for piece in split_addresses(value) if not _LIQUID.search(piece.text)]


def recipient_of(job: Job, payload: Mapping[str, Any]) -> str:
    """What tells the recipient of one job from that of another: `to`, or else the identifiers."""
    if recipients := recipients_in(payload):
        return "\n".join(sorted(name.lower() for name in recipients))
    person = person_of(dict(payload), job.body) or {}
    return "\n".join(f"{name}:{value}" for name, value in sorted(person.items()))


def _bare(text: str) -> str:
    _, bracket, rest = text.rpartition("<")
    return (rest.partition(">")[0] if bracket else text).strip()
