"""The people of a job: whom it names by address, number or identifier. Pure."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from sender.jobs.payload import person_of
from sender.validation.headers import recipients_in_headers
from sender.validation.recipients import FIELDS, addresses_in, split_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.jobs.job import Job

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
DIGEST_LENGTH: Final = 64
_BARE_ADDRESS: Final = re.compile(r"[\w.+-]+@[\w.-]+\w")
_PHONE: Final = re.compile(r"(?:tel:)?\(?\+[0-9][0-9\s().\-\u2010-\u2013/]*")
_NO_DIGITS: Final = re.compile(r"[^0-9]+")
_LIQUID: Final = re.compile(r"\{[{%]")


def digest_of(name: str) -> bytes:
    """SHA-256 of a person's name: an address in lower case, a phone number as E.164 has it, anything else as it is."""
    return sha256(_normal(name.strip()).encode()).digest()


def digests_of(name: str) -> set[bytes]:
    """Every digest by which a list may mean this name: its normal form, as it is written, a number without its plus."""
    normal = _normal(name.strip())
    return {sha256(form.encode()).digest() for form in (name.strip(), normal, _without_plus(normal))}


def digests_of_entry(entry: str) -> set[bytes]:
    """What an entry of a list stands for: itself if it is a SHA-256 in hexadecimal, its addresses, or the whole."""
    entry = entry.strip()
    if len(entry) == DIGEST_LENGTH and _DIGEST.fullmatch(entry):
        return {bytes.fromhex(entry)}
    if "@" not in entry or _BARE_ADDRESS.fullmatch(entry):
        return {digest_of(entry)}
    return {digest_of(name) for name in addresses_in(entry) | {entry}}


def is_certain(entry: str) -> bool:
    """Whether this is an address, a phone number or a digest, and so no name of a column."""
    return any(form.fullmatch(entry.strip()) for form in (_BARE_ADDRESS, _PHONE, _DIGEST))


def names_in(job: Job, payload: Mapping[str, Any]) -> set[str]:
    """Every address, number and identifier that the payload of a send names; what is liquid cannot be known.

    Addresses are those that the API could read, too, in a text that is no proper list, and in headers.
    """
    names = {name for field in FIELDS for name in recipients_in(payload, field)}
    texts = [*map(payload.get, FIELDS), *recipients_in_headers(payload.get("headers"))]
    names |= {name for text in texts if isinstance(text, str) and "@" in text for name in addresses_in(text)}
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


def _normal(name: str) -> str:
    if "@" in name:
        return name.lower()
    if "+" in name and _PHONE.fullmatch(name):
        return "+" + _NO_DIGITS.sub("", name.replace("(0)", ""))
    return name


def _without_plus(name: str) -> str:
    return name[1:] if name.startswith("+") and name[1:].isdecimal() else name
