"""API-triggered broadcasts: one audience out of six shapes, and its limits (docs/api.md, "Triggering a broadcast")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.jobs.nearest import nearest
from sender.validation.audience_filter import check_filter
from sender.validation.report import ARRAY, FLAG, OBJECT, TEXT, Types
from sender.validation.sends import is_web_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.check import Options
    from sender.validation.report import Report

MOST_BODY: Final = 25 * 2**20
LARGE_BODY: Final = 25_000_000
MOST_DATA: Final = 50_000
MOST_ENTRIES: Final = 10_000
SHOWN: Final = 10
"""Entries of a list whose problems are told one by one."""

AUDIENCES: Final[dict[str, tuple[str, ...]]] = {
    "recipients": (),
    "emails": ("email_ignore_missing", "email_add_duplicates"),
    "ids": ("id_ignore_missing",),
    "per_user_data": ("email_ignore_missing", "email_add_duplicates", "id_ignore_missing"),
    "data_file_url": ("email_ignore_missing", "email_add_duplicates", "id_ignore_missing"),
}
FLAGS: Final = ("email_ignore_missing", "email_add_duplicates", "id_ignore_missing")
FIELDS: Final[dict[str, Types]] = {
    "data": OBJECT, "recipients": OBJECT, "emails": ARRAY, "ids": ARRAY, "per_user_data": ARRAY,
    "data_file_url": TEXT, **dict.fromkeys(FLAGS, FLAG),
}  # fmt: skip


def check_broadcast(payload: Mapping[str, Any], size: int, report: Report, now: float, options: Options) -> None:
    """POST /v1/campaigns/{broadcast_id}/triggers."""
    report.types(FIELDS, payload)
    given = [name for name in AUDIENCES if payload.get(name) is not None]
    _check_default_audience(payload, given, report)
    if len(given) > 1:
        report.problem("two_audiences", given[1], f"{' and '.join(given)} are two audiences; the API takes one")
    for name in given:
        _check_audience(name, payload[name], report)
    allowed = {flag for name in given for flag in AUDIENCES[name]}
    for flag in FLAGS:
        if flag in payload and flag not in allowed:
            report.warn("flag_without_audience", flag, f"{flag} has no effect on this audience")
    data = payload.get("data")
    if type(data) is dict and size > MOST_DATA and (length := len(orjson.dumps(data))) > MOST_DATA:
        report.problem("data_too_large", "data", f"data is {length:,} bytes; the API takes {MOST_DATA:,}")
    if size > MOST_BODY:
        report.problem("payload_too_large", None, f"the payload is {size:,} bytes; the API takes 25 MB")
    elif size > LARGE_BODY:
        report.warn("payload_large", None, f"the payload is {size:,} bytes, near the API's limit of 25 MB")


def _check_default_audience(payload: Mapping[str, Any], given: list[str], report: Report) -> None:
    """Nobody may reach the broadcast's whole audience by a slip: the API ignores what it does not know."""
    for name in AUDIENCES:
        if name in payload and payload[name] is None:
            _empty(name, report)
    if given:
        return
    for name in payload:
        near = nearest(name, AUDIENCES) if name not in FIELDS else None
        if near is not None:
            report.problem(
                "misspelt_audience", near, f"an audience is misspelt, is {near} meant? The API would take everybody"
            )


def _check_audience(name: str, value: Any, report: Report) -> None:
    if name == "data_file_url":
        _check_file_url(value, report)
    elif name == "recipients" and type(value) is dict:
        if value:
            check_filter(value, report)
        else:
            _empty(name, report)
    elif type(value) is list:
        _check_list(name, value, report)


def _check_file_url(value: Any, report: Report) -> None:
    if type(value) is not str:
        return
    if not is_web_url(value):
        report.problem("bad_url", "data_file_url", "data_file_url must be an http or https URL that the API can read")
    elif not value.startswith("https:"):
        report.warn("plain_http", "data_file_url", "data_file_url is not https; personal data would travel in the open")


def _check_list(name: str, entries: list[Any], report: Report) -> None:
    if not entries:
        _empty(name, report)
    if len(entries) > MOST_ENTRIES:
        report.problem(
            "audience_too_large", name,
            f"{name} has {len(entries):,} entries; the API takes {MOST_ENTRIES:,}: split it, or use data_file_url",
        )  # fmt: skip
    bad = 0
    for number, entry in enumerate(entries):
        fault = _entry_fault(entry) if name == "per_user_data" else _member_fault(name, entry)
        if fault:
            bad += 1
            if bad <= SHOWN:
                report.problem("bad_entry", f"{name}[{number}]", f"{name}[{number}] {fault}")
    if bad > SHOWN:
        report.problem("bad_entry", name, f"{name} has {bad - SHOWN:,} more such entries")


def _empty(name: str, report: Report) -> None:
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
    if "data" in entry and type(entry["data"]) is not dict:
        return "has data that is not an object"
    return None
