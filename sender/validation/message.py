"""What all transactional messages have in common (docs/api.md, "Common fields")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.validation.report import Report

MOST_AHEAD: Final = 90 * 86400
CLOCK_SKEW: Final = 5
LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,4})?")
PHONE: Final = re.compile(r"\+[1-9][0-9]{1,14}")
IDENTIFIERS: Final = ("id", "email", "cio_id")


def check_person(payload: Mapping[str, Any], report: Report, *, required: bool) -> None:
    """`identifiers` names one person by one of id, email and cio_id (docs/api.md, "Identifiers")."""
    person = payload.get("identifiers")
    if person is None:
        if required:
            report.problem(
                "missing_field", "identifiers", "identifiers is missing; name the person by id, email or cio_id"
            )
        else:
            report.warn("missing_identifiers", "identifiers", "identifiers is missing; the message belongs to nobody")
        return
    if type(person) is not dict:
        return
    if len(person) != 1:
        count = len(person) or "no"
        report.problem(
            "bad_identifiers", "identifiers", f"identifiers has {count} keys; give exactly one of id, email, cio_id"
        )
        return
    ((key, value),) = person.items()
    if key in IDENTIFIERS and type(value) is str and value:
        return
    if key not in IDENTIFIERS:
        report.problem(
            "bad_identifiers", "identifiers", "identifiers has an unknown key; give one of id, email, cio_id"
        )
    elif type(value) is not str and type(value) is not int:
        report.problem("bad_identifiers", f"identifiers.{key}", f"identifiers.{key} must be a text")
    elif value == "":
        report.problem("bad_identifiers", f"identifiers.{key}", f"identifiers.{key} is empty")


def check_template(payload: Mapping[str, Any], report: Report, *, required: bool) -> None:
    """`transactional_message_id`: the template's number or its trigger name."""
    template = payload.get("transactional_message_id")
    if template is None:
        if required:
            field = "transactional_message_id"
            report.problem("missing_field", field, f"{field} is missing; this kind cannot be sent without a template")
    elif template == "" or (type(template) is int and template <= 0):
        report.problem(
            "bad_template",
            "transactional_message_id",
            "transactional_message_id must be a positive number or a trigger name",
        )
    if payload.get("auto_create") is True and type(template) is not str:
        report.warn(
            "auto_create_ignored", "auto_create", "auto_create works with a trigger name only; it is ignored here"
        )


def check_timing(payload: Mapping[str, Any], report: Report, now: float) -> None:
    """`send_at` is at most 90 days ahead; the past means at once."""
    send_at = payload.get("send_at")
    if type(send_at) is not int:
        return
    if send_at > now + MOST_AHEAD + CLOCK_SKEW:
        report.problem("send_at_too_late", "send_at", "send_at is more than 90 days ahead; the API takes no later time")
    elif send_at < now - CLOCK_SKEW:
        report.warn("send_at_past", "send_at", "send_at is past; the API sends the message at once")


def check_language(payload: Mapping[str, Any], report: Report) -> None:
    """`language` looks like `en` or `en-US`."""
    language = payload.get("language")
    if type(language) is str and not LANGUAGE.fullmatch(language):
        report.warn("odd_language", "language", "language does not look like a code such as en or pt-BR")


def check_phone(payload: Mapping[str, Any], report: Report) -> None:
    """`to` is in E.164 form or liquid (docs/api.md, "SMS")."""
    number = payload.get("to")
    if type(number) is str and not PHONE.fullmatch(number) and not has_liquid(number):
        report.problem("bad_phone", "to", "to is not a phone number in E.164 form, like +15551234567, nor liquid")


def has_liquid(text: str) -> bool:
    """Whether the text is filled in by the API."""
    return ("{{" in text and "}}" in text) or ("{%" in text and "%}" in text)
