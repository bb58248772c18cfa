"""API-triggered broadcasts: one audience out of six shapes, and its limits (docs/api.md, "Triggering a broadcast")."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sender.jobs.nearest import nearest
from sender.jobs.payload_span import member_bytes
from sender.validation.audience_filter import check_filter
from sender.validation.field_types import check_types
from sender.validation.fields import BROADCAST, BROADCAST_FLAGS
from sender.validation.sizes import compact_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check_options import Options
    from sender.validation.findings import Report

MOST_BODY: Final = 25 * 2**20
LARGE_BODY: Final = 25_000_000
MOST_DATA: Final = 50_000
MOST_ENTRIES: Final = 10_000
LARGE_ENTRY: Final = 2_000_000
SHOWN: Final = 10
"""Entries of a list whose problems are told one by one."""
MOST_UNKNOWN: Final = 100
"""Unknown fields that are looked at one by one for an audience that is meant."""

AUDIENCES: Final[dict[str, tuple[str, ...]]] = {
    "recipients": (),
    "emails": ("email_ignore_missing", "email_add_duplicates"),
    "ids": ("id_ignore_missing",),
    "per_user_data": ("email_ignore_missing", "email_add_duplicates", "id_ignore_missing"),
    "data_file_url": ("email_ignore_missing", "email_add_duplicates", "id_ignore_missing"),
}
_LISTS: Final = "ids, emails or per_user_data"
_FILTERS: Final = "recipients"
MEANT: Final[dict[str, str]] = {
    **dict.fromkeys(("id", "ids", "userid", "userids", "customerid", "customerids", "cioid", "cioids"), "ids"),
    **dict.fromkeys(("to", "cc", "bcc", "email", "emails", "emailaddresses", "addresses"), "emails"),
    **dict.fromkeys(("identifiers", "user", "users", "person", "people", "customer", "customers", "profiles",
                     "contact", "contacts", "members", "subscribers", "sendto", "mailinglist", "list", "lists", "group",
                     "target", "targets", "receiver", "receivers"), _LISTS),
    **dict.fromkeys(("segment", "segments", "segmentid", "segmentids", "audience", "audiences", "filter", "filters",
                     "and", "or", "not", "attribute", "recipient", "recipients"), _FILTERS),
}
"""Names by which people call an audience, in small letters without `_` and `-`, and what the API calls it."""
ENDINGS: Final[dict[str, str]] = {
    "ids": "ids", "emails": "emails", "users": _LISTS, "people": _LISTS, "customers": _LISTS, "profiles": _LISTS,
    "segment": _FILTERS, "segments": _FILTERS, "audience": _FILTERS, "recipients": _FILTERS,
}
"""Ends of such names."""
MOST_DEPTH: Final = 4
"""Levels of an unknown object that are looked through for an audience."""


def check_broadcast(payload: Mapping[str, Any], body: bytes, report: Report, now: float, options: Options) -> None:
    """POST /v1/campaigns/{broadcast_id}/triggers."""
    given = [name for name in AUDIENCES if payload.get(name) is not None]
    told = _check_default_audience(payload, report) if not given else ()
    check_types(BROADCAST, payload, report, told)
    if len(given) > 1:
        report.problem("two_audiences", given[1], f"{' and '.join(given)} are two audiences; the API takes one")
    for name in given:
        _check_audience(name, payload[name], report)
    allowed = {flag for name in given for flag in AUDIENCES[name]}
    for flag in BROADCAST_FLAGS:
        if given and flag in payload and flag not in allowed:
            report.warn("flag_without_audience", flag, f"{flag} has no effect on this audience")
    _check_sizes(payload, body, report)


def _check_default_audience(payload: Mapping[str, Any], report: Report) -> list[str]:
    """Nobody may reach the broadcast's whole audience by a slip: the API ignores what it does not know.

    Returns the fields that may be meant as an audience: those with such a name, and unknown lists.
    """
    for name in AUDIENCES:
        if name in payload:
            _tell_empty(name, report)
    misnamed = []
    for number, (name, value) in enumerate(islice(payload.items(), MOST_UNKNOWN), 1):
        if name in BROADCAST.fields:
            continue
        meant = audience_meant(name)
        if meant is not None:
            report.problem("misspelt_audience", *_misnamed(name, meant))
        elif (what := _looks_like_audience(value)) is not None:
            message = f"field {number} of the payload is {what} without a name of the API, is an audience meant?"
            report.problem("misspelt_audience", None, f"{message} Values of your own belong into data")
        else:
            continue
        misnamed.append(name)
    if len(payload) > MOST_UNKNOWN:
        message = f"there are {len(payload):,} fields, and no audience is seen among them; put values of your own into"
        report.problem("misspelt_audience", None, f"{message} data. The API would take everybody")
    if not report.has_problems:
        message = "no audience is given: it goes to everybody whom the broadcast's own audience holds"
        report.warn("default_audience", None, message)
    return misnamed


def _looks_like_audience(value: Any, depth: int = MOST_DEPTH) -> str | None:
    """What it is, if an audience may be meant by it: a list, an address, or an object around an audience's name."""
    if type(value) is list:
        return "a list"
    if type(value) is str:
        return "an address" if "@" in value.strip("@")[:320] and not any(map(str.isspace, value[:320])) else None
    if type(value) is not dict or not depth:
        return None
    for name, inner in islice(value.items(), MOST_UNKNOWN):
        if audience_meant(name) is not None or (type(inner) is dict and _looks_like_audience(inner, depth - 1)):
            return "an object"
    return None


def _misnamed(name: str, meant: str) -> tuple[str, str]:
    """Field and sentence; a name is repeated only if it stands in our own table."""
    end = "The API would ignore it and take everybody"
    if _plain(name) in MEANT:
        return name, f"{name} is not the name of an audience, is {meant} meant? {end}"
    return meant, f"an audience is misspelt, is {meant} meant? {end}"


def audience_meant(name: str) -> str | None:
    """What a field that the API does not know was probably meant to be, if that is an audience."""
    plain = _plain(name)
    ends = (meant for end, meant in ENDINGS.items() if plain.endswith(end))
    return MEANT.get(plain) or nearest(name, AUDIENCES) or next(ends, None)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "") if len(name) < 60 else name


def _check_audience(name: str, value: Any, report: Report) -> None:
    if name == "data_file_url":
        _check_file_url(value, report)
    elif name == "recipients" and type(value) is dict:
        if value:
            check_filter(value, report)
        else:
            _tell_empty(name, report)
    elif type(value) is list:
        _check_list(name, value, report)


def _check_file_url(value: Any, report: Report) -> None:
    if type(value) is not str:
        return
    scheme = _web_scheme(value)
    if scheme is None:
        report.problem("bad_url", "data_file_url", "data_file_url must be an http or https URL that the API can read")
    elif scheme == "http":
        report.warn("plain_http", "data_file_url", "data_file_url is not https; personal data would travel in the open")


def _web_scheme(text: str) -> str | None:
    """`http` or `https` of a URL with a host."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return parts.scheme if parts.scheme in ("http", "https") and parts.hostname else None


def _check_list(name: str, entries: list[Any], report: Report) -> None:
    if not entries:
        _tell_empty(name, report)
    if len(entries) > MOST_ENTRIES:
        report.problem(
            "audience_too_large", name,
            f"{name} has {len(entries):,} entries; the API takes {MOST_ENTRIES:,}: split it, or use data_file_url",
        )
    bad = 0
    for number, entry in enumerate(entries):
        fault = _entry_fault(entry) if name == "per_user_data" else _member_fault(name, entry)
        if fault:
            bad += 1
            if bad <= SHOWN:
                report.problem("bad_entry", f"{name}[{number}]", f"{name}[{number}] {fault}")
    if bad > SHOWN:
        report.problem("bad_entry", name, f"{name} has {bad - SHOWN:,} more such entries")
    numbers = [number for number, entry in enumerate(entries) if _has_integer_id(entry)]
    if numbers:
        message = f"{name} has {len(numbers):,} ids that are numbers, not texts; the API documents texts"
        report.warn("integer_id", f"{name}[{numbers[0]}]", message)


def _tell_empty(name: str, report: Report) -> None:
    # A server that drops empty fields would read this as the default audience: everybody.
    # See docs/api.md, "Triggering a broadcast".
    report.problem("empty_audience", name, f"{name} is empty; leave it out if the broadcast's own audience is meant")


def _member_fault(name: str, entry: Any) -> str | None:
    if (type(entry) is str and entry) or (name == "ids" and type(entry) is int):
        return None
    return "must be a text that is not empty"


def _entry_fault(entry: Any) -> str | None:
    if type(entry) is not dict:
        return "must be an object with id or email"
    named = [key for key in ("id", "email") if entry.get(key) not in (None, "")]
    if len(named) != 1:
        return "must have exactly one of id and email"
    if type(entry[named[0]]) not in (str, int):
        return f"has a {named[0]} that is not a text"
    if entry.get("data") is not None and type(entry["data"]) is not dict:
        return "has data that is not an object"
    return None


def _has_integer_id(entry: Any) -> bool:
    return type(entry) is int or (type(entry) is dict and int in (type(entry.get("id")), type(entry.get("email"))))


def _check_sizes(payload: Mapping[str, Any], body: bytes, report: Report) -> None:
    size = len(body)
    data, entries = payload.get("data"), payload.get("per_user_data")
    if type(data) is dict and size > MOST_DATA:
        _check_data(data, payload, body, report)
    if type(entries) is list and size > LARGE_ENTRY:
        for number, entry in enumerate(entries):
            if compact_size(entry) > LARGE_ENTRY:
                message = f"per_user_data[{number}] is 2 MB or more; of a data file the API takes 2 MB for each person"
                report.warn("entry_large", f"per_user_data[{number}]", message)
    if size > MOST_BODY:
        message = f"the payload is {size:,} bytes; the API takes 25 MB ({MOST_BODY:,} bytes)"
        report.problem("payload_too_large", None, message)
    elif size > LARGE_BODY:
        report.warn("payload_large", None, f"the payload is {size:,} bytes, near the API's limit of 25 MB")


def _check_data(data: Mapping[str, Any], payload: Mapping[str, Any], body: bytes, report: Report) -> None:
    """`data` has at most 50,000 bytes; nobody says whether white space and escapes count."""
    length = compact_size(data)
    if length > MOST_DATA:
        report.problem("data_too_large", "data", f"data is {length:,} bytes; the API takes {MOST_DATA:,}")
    elif length + len(body) - compact_size(payload) > MOST_DATA:  # else even all white space of the body is too little
        written = len(member_bytes(body, "data") or b"")
        if written > MOST_DATA:
            message = f"data is {written:,} bytes as it is written, {length:,} without white space; the API takes"
            report.warn("data_large", "data", f"{message} {MOST_DATA:,}")
